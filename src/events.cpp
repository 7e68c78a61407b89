#include "ctnbpf/events.h"

#include <fmt/format.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>

#include "ctnbpf/state.h"
#include "mapping.h"
#include "pins.h"
#include "run_program.h"
#include "unique_fd.h"

namespace ctnbpf {
namespace {

/* The bell: a BPF ring buffer of which only its waking is used. One that holds something wakes its
 * edge-triggered pollers once for each record that is added, however many of them there are; so it
 * is never read empty, only kept from getting full. Several readers doing that at once is harmless:
 * each moves the position to a record that was there. */
class Bell {
 public:
  static Result<Bell> open(const Pins& pins) {
    Bell bell;
    CTN_ASSIGN(bell.map_, pins.open_map("bell"));
    auto page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
    bell.page_ = page;
    bell.consumer_ = ::mmap(nullptr, page, PROT_READ | PROT_WRITE, MAP_SHARED, bell.map_.get(), 0);
    bell.producer_ =
        ::mmap(nullptr, page, PROT_READ, MAP_SHARED, bell.map_.get(), static_cast<off_t>(page));
    if (bell.consumer_ == MAP_FAILED || bell.producer_ == MAP_FAILED)
      return system_error("map 'bell' into memory");
    bell.epoll_.reset(::epoll_create1(EPOLL_CLOEXEC));
    epoll_event wanted = {};
    wanted.events = EPOLLIN | EPOLLET;
    if (!bell.epoll_.valid() ||
        ::epoll_ctl(bell.epoll_.get(), EPOLL_CTL_ADD, bell.map_.get(), &wanted) != 0)
      return system_error("wait for events");
    return bell;
  }
  Bell(Bell&& other) noexcept
      : map_(std::move(other.map_)),
        epoll_(std::move(other.epoll_)),
        page_(other.page_),
        consumer_(std::exchange(other.consumer_, MAP_FAILED)),
        producer_(std::exchange(other.producer_, MAP_FAILED)) {}
  ~Bell() {
    if (consumer_ != MAP_FAILED) ::munmap(consumer_, page_);
    if (producer_ != MAP_FAILED) ::munmap(producer_, page_);
  }

  void wait(int timeout_ms, int fd) {
    pollfd fds[] = {{epoll_.get(), POLLIN, 0}, {fd, POLLIN, 0}};
    if (::poll(fds, fd < 0 ? 1 : 2, timeout_ms) <= 0) return;
    epoll_event event = {};
    (void)::epoll_wait(epoll_.get(), &event, 1, 0); /* takes the edge */
    make_room();
  }

 private:
  Bell() = default;
  /* Before the log is read, so that a ring lost for want of room is one whose event is read. */
  void make_room() {
    constexpr unsigned long kRecord = 16; /* header and one number */
    constexpr unsigned long kMuch = 2048;
    auto& consumer = *static_cast<unsigned long*>(consumer_);
    unsigned long produced = load(*static_cast<const unsigned long*>(producer_));
    if (produced - load(consumer) > kMuch) store(consumer, produced - kRecord);
  }

  UniqueFd map_;
  UniqueFd epoll_;
  std::size_t page_ = 0;
  void* consumer_ = MAP_FAILED;
  void* producer_ = MAP_FAILED;
};

}  // namespace

using Clock = std::chrono::steady_clock;

struct EventReader::Impl {
  State state;
  Mapping log;
  Bell bell;
  std::uint64_t position = 0;
  std::uint64_t end = 0; /* of the log when this was opened */
  std::uint64_t lost = 0;
  std::uint64_t untold = 0; /* of core.refusals_untold, those that were counted as lost */
  /* The position whose record was not there when it was first looked at, and when that was. */
  std::uint64_t waits_for = ~0ULL;
  Clock::time_point since = {};

  std::optional<ctn_event> read(std::uint64_t at) const {
    const ctn_event& record = log.as<ctn_event>()[at % CTN_EVENT_LOG];
    std::uint64_t before = load(record.number);
    ctn_event copy = record;
    __atomic_thread_fence(__ATOMIC_ACQUIRE);
    if (before == at + 1 && load(record.number) == at + 1) return copy;
    return std::nullopt;
  }

  /* How much longer the record at the present position is waited for. */
  Clock::duration patience_left() {
    if (waits_for != position) {
      waits_for = position;
      since = Clock::now();
    }
    return since + std::chrono::seconds(2) - Clock::now();
  }
};

EventReader::EventReader(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
EventReader::EventReader(EventReader&&) noexcept = default;
EventReader::~EventReader() = default;

Result<EventReader> EventReader::open(const Pins& pins, From from) {
  CTN_ASSIGN(State state, State::open(pins));
  CTN_ASSIGN(Mapping log, Mapping::open(pins, "events", sizeof(ctn_event), CTN_EVENT_LOG, false));
  CTN_ASSIGN(Bell bell, Bell::open(pins));
  auto impl = std::make_unique<Impl>(Impl{std::move(state), std::move(log), std::move(bell)});
  std::uint64_t head = load(impl->state.core().event_head);
  impl->end = head;
  if (from == From::kNow) {
    impl->position = head;
    impl->untold = load(impl->state.core().refusals_untold);
  } else {
    impl->position = impl->lost = head > CTN_EVENT_LOG ? head - CTN_EVENT_LOG : 0;
  }
  return EventReader(std::move(impl));
}

std::optional<ctn_event> EventReader::next() {
  for (;;) {
    std::uint64_t head = load(impl_->state.core().event_head);
    if (impl_->position >= head) return std::nullopt;
    if (head - impl_->position > CTN_EVENT_LOG) {
      impl_->lost += head - CTN_EVENT_LOG - impl_->position;
      impl_->position = head - CTN_EVENT_LOG;
    }
    std::uint64_t wanted = impl_->position + 1;
    if (auto copy = impl_->read(impl_->position)) {
      impl_->position++;
      return copy;
    }
    std::uint64_t before = load(impl_->log.as<ctn_event>()[impl_->position % CTN_EVENT_LOG].number);
    /* Its writer has only a few instructions to go and rings the bell then, but its CPU may be held up, if
     * it is a virtual one for long. A writer that was overtaken by the whole log leaves an older number. */
    if (before <= wanted && impl_->patience_left() > Clock::duration::zero()) return std::nullopt;
    impl_->lost++;
    impl_->position++;
  }
}

bool EventReader::held() const { return impl_->waits_for == impl_->position; }

bool EventReader::caught_up() const { return impl_->position >= impl_->end; }

std::optional<ctn_event> EventReader::again(const ctn_event& event) {
  auto now = impl_->read(event.number - 1);
  if (!now) impl_->lost++;
  return now;
}

std::uint64_t EventReader::take_lost() {
  std::uint64_t untold = load(impl_->state.core().refusals_untold);
  return std::exchange(impl_->lost, 0) + untold - std::exchange(impl_->untold, untold);
}

void EventReader::wait(int timeout_ms, int fd) {
  if (held()) {
    using std::chrono::milliseconds;
    auto left = std::chrono::ceil<milliseconds>(impl_->patience_left()).count();
    auto most = static_cast<int>(std::max<milliseconds::rep>(left, 0));
    timeout_ms = timeout_ms < 0 ? most : std::min(timeout_ms, most);
  }
  impl_->bell.wait(timeout_ms, fd);
}

const char* event_name(std::uint32_t kind) {
  switch (kind) {
    case CTN_EVENT_FORK_REFUSED: return "fork-refused";
    case CTN_EVENT_FORK_RATE: return "fork-rate-refused";
    case CTN_EVENT_FILE_REFUSED: return "file-refused";
    case CTN_EVENT_RELEASED: return "released";
    case CTN_EVENT_GONE: return "gone";
    case CTN_EVENT_EMPTIED: return "emptied";
    case CTN_EVENT_STRAYED: return "strayed";
    default: return "unknown";
  }
}

Result<void> tell_if_emptied(Writer& writer, Slot slot) {
  const ctn_node& node = writer.nodes()[slot];
  /* Whoever takes out the last task meanwhile sees what was taken away here, or that is seen below. */
  __atomic_thread_fence(__ATOMIC_SEQ_CST);
  if (slot < CTN_MAX_HIER || load(node.armed) == 0) return {};
  /* What node_emptied() would find: nothing to tell, which is most of the times. */
  bool told = (node.flags & (CTN_NOTIFY_ON_RELEASE | CTN_TRANSIENT)) != 0;
  if (node.state == CTN_ACTIVE && (node.children != 0 || !told)) return {};
  CTN_ASSIGN(UniqueFd program, writer.pins().open_prog("s_emptied"));
  std::array arguments{std::uint64_t{slot}};
  auto done = run_program(program, arguments, kAnyCpu);
  return done ? Result<void>() : done.error().within("tell that a container is empty");
}

}  // namespace ctnbpf
