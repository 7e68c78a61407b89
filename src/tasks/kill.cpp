#include "ctnbpf/kill.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <optional>
#include <set>
#include <vector>

#include "ctnbpf/events.h"
#include "ctnbpf/membership.h"
#include "ctnbpf/tree.h"
#include "ctnbpf/namespaces.h"
#include "ctnbpf/unique_fd.h"
#include "base/urgent.h"

namespace ctnbpf {
namespace {

using Clock = std::chrono::steady_clock;
using Pid = std::uint32_t;

/* The marks of a `kill` at work, for as long as it lives. */
class Marks {
 public:
  Marks(Writer& writer, const std::vector<bool>& wanted, int signal)
      : writer_(writer), wanted_(wanted), refuse_(signal == SIGKILL) {
    set(refuse_ ? CTN_WATCHED | CTN_KILLING : CTN_WATCHED, 0);
  }
  Marks(const Marks&) = delete;
  Marks& operator=(const Marks&) = delete;
  ~Marks() {
    if (refuse_) set(0, CTN_KILLING);
  }

 private:
  /* CTN_WATCHED stays until the container is empty. A program that takes it off meanwhile may find it on
   * again: then it is told of once more. */
  void set(std::uint32_t on, std::uint32_t off) {
    for (Slot one = CTN_MAX_HIER; one < wanted_.size(); one++) {
      if (!wanted_[one]) continue;
      std::uint32_t& flags = writer_.nodes()[one].flags;
      __atomic_fetch_or(&flags, on, __ATOMIC_ACQ_REL);
      __atomic_fetch_and(&flags, ~off, __ATOMIC_ACQ_REL);
    }
    /* Whoever takes the last task out from here on sees the flags, or we that it is gone. */
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
  }

  Writer& writer_;
  const std::vector<bool>& wanted_;
  bool refuse_;
};

class Killing {
 public:
  Killing(int signal, bool recursive) : signal_(signal), recursive_(recursive) {}

  /* With the writer lock: everybody who is in gets the signal. */
  Result<void> round(Writer& writer, const std::string& address, Clock::time_point until) {
    constexpr int kMostPasses = 64;
    constexpr int kPassesOfOthers = 8; /* whose receivers may fork on */
    if (!slot_) {
      CTN_ASSIGN(Slot found, tree::find(writer, address));
      if (found < CTN_MAX_HIER && !recursive_)
        return Error{EPERM,
                     fmt::format("{} is a root: it holds all other tasks of the machine; name a "
                                 "container, or use -r for all below it",
                                 tree::address_of(writer, found))};
      slot_ = found;
      generation_ = writer.nodes()[found].generation;
      address_ = tree::address_of(writer, found);
    }
    CTN_TRY(choose(writer));
    if (!containers_.empty()) CTN_TRY(refuse_unseen(writer, *slot_, recursive_));
    Urgent urgent;
    Marks marks(writer, wanted_, signal_);
    for (int pass = 1;; pass++) {
      CTN_ASSIGN(std::uint64_t fresh, this->pass(writer.pins()));
      if (fresh == 0 || pass == (signal_ == SIGKILL ? kMostPasses : kPassesOfOthers)) return {};
      if (Clock::now() >= until) return {};
    }
  }

  /* Live tasks of the containers of the last round. Takes no lock. */
  std::uint64_t live() const {
    std::uint64_t sum = 0;
    for (const auto& [slot, generation] : containers_) {
      const ctn_node& node = state_->nodes()[slot];
      if (node.generation == generation) sum += live_tasks(node);
    }
    return sum - std::min<std::uint64_t>(sum, own_tasks_);
  }
  KillResult result(std::uint64_t left) const {
    return {signalled_, left, own_tasks_ != 0, address_};
  }

 private:
  Result<void> choose(const Writer& writer) {
    CTN_ASSIGN(state_, State::open(writer.pins()));
    containers_.clear();
    wanted_.assign(writer.nodes().size(), false);
    /* It may be gone since the last round, and its slot another's. */
    if (writer.nodes()[*slot_].generation != generation_) return {};
    hierarchy_ = writer.nodes()[*slot_].hierarchy;
    for (Slot one = CTN_MAX_HIER; one < writer.core().high_slot; one++) {
      const ctn_node& node = writer.nodes()[one];
      if (node.state == CTN_FREE) continue;
      wanted_[one] = recursive_ ? tree::within(writer, one, *slot_) : one == *slot_;
      if (wanted_[one]) containers_.emplace_back(one, node.generation);
    }
    return {};
  }

  /* Signals everybody who has not got it; how many that were. SIGKILL goes to all again: a pid that
   * got it may be another's, born in since.
   *
   * A pid may be another process's by the time it is signalled. So: look who is in, take hold of
   * each by a pidfd, look again, and signal who is still in. Nobody moves in meanwhile, as we hold
   * the writer lock, and who is born in has a parent there: it may be signalled. */
  Result<std::uint64_t> pass(const Pins& pins) {
    CTN_ASSIGN(std::set<Pid> first, members(pins));
    std::erase_if(reached_, [&](Pid pid) { return !first.contains(pid); });
    std::vector<Pid> todo;
    for (Pid pid : first)
      if (!reached_.contains(pid)) todo.push_back(pid);
    if (signal_ == SIGKILL) todo.insert(todo.end(), reached_.begin(), reached_.end());
    std::uint64_t fresh = 0;
    std::optional<Error> failed;
    for (std::size_t at = 0; at < todo.size();) {
      CTN_ASSIGN(std::vector<Held> held, hold(todo, at, failed));
      if (held.empty()) continue;
      CTN_ASSIGN(std::set<Pid> second, members(pins));
      for (const auto& [pid, fd] : held) {
        if (!second.contains(pid)) continue;
        if (::syscall(SYS_pidfd_send_signal, fd.get(), signal_, nullptr, 0) == 0)
          fresh += reached_.insert(pid).second;
        else if (errno != ESRCH && !failed)
          failed = system_error(fmt::format("send the signal to process {}", pid));
      }
    }
    signalled_ += fresh;
    if (failed) return *failed;
    return fresh;
  }

  using Held = std::pair<Pid, UniqueFd>;

  /* pidfds of the processes from todo[at] on, for as many as there are descriptors; moves `at` behind the last
   * one. The look that follows needs a few descriptors itself. */
  static Result<std::vector<Held>> hold(const std::vector<Pid>& todo, std::size_t& at,
                                        std::optional<Error>& failed) {
    constexpr std::size_t kMost = 4096;
    constexpr std::size_t kOfALook = 4;
    auto too_few = [&](const std::string& what) {
      return Error{errno,
                   fmt::format("{}: {}; `kill` needs some descriptors: raise `ulimit -n`, or "
                               "the limit of files that it runs under",
                               what, std::strerror(errno))};
    };
    std::array<UniqueFd, kOfALook> kept; /* until this returns */
    for (UniqueFd& one : kept) {
      one = UniqueFd(::open("/dev/null", O_RDONLY | O_CLOEXEC));
      if (!one.valid()) return too_few("look at who is in");
    }
    std::vector<Held> held;
    for (; at < todo.size() && held.size() < kMost; at++) {
      UniqueFd fd(static_cast<int>(::syscall(SYS_pidfd_open, todo[at], 0)));
      if (fd.valid()) {
        held.emplace_back(todo[at], std::move(fd));
        continue;
      }
      if (errno == ESRCH) continue;
      if (errno == EMFILE || errno == ENFILE || errno == ENOMEM) {
        if (held.empty()) return too_few(fmt::format("take hold of process {}", todo[at]));
        break;
      }
      if (!failed) failed = system_error(fmt::format("take hold of process {}", todo[at]));
    }
    return held;
  }

  Result<std::set<Pid>> members(const Pins& pins) {
    CTN_ASSIGN(auto tasks, walk_tasks(pins));
    std::set<Pid> pids;
    std::uint64_t own = 0;
    for (const ctn_walk_task& task : tasks) {
      Slot at = container_of(task, hierarchy_);
      if (has_exited(task) || (task.slot[hierarchy_] & CTN_EXITED) != 0) continue;
      if (at >= wanted_.size() || !wanted_[at]) continue;
      if (task.tgid == static_cast<Pid>(::getpid()))
        own++;
      else
        pids.insert(task.tgid);
    }
    own_tasks_ = own;
    return pids;
  }

  int signal_;
  bool recursive_;
  std::optional<Slot> slot_;
  std::uint32_t generation_ = 0;
  std::string address_;
  std::uint32_t hierarchy_ = 0;
  std::vector<bool> wanted_;                               /* by slot */
  std::vector<std::pair<Slot, std::uint32_t>> containers_; /* the same, with their generations */
  std::optional<State> state_;
  std::set<Pid> reached_; /* members that have got it */
  std::uint64_t signalled_ = 0;
  std::uint64_t own_tasks_ = 0;
};

}  // namespace

Result<KillResult> kill_tasks(const std::function<Result<Writer>()>& open,
                              const std::string& address, int signal, bool recursive,
                              Patience patience) {
  /* For those that came since: by an attach, or by forks while the signal is not SIGKILL. */
  constexpr std::chrono::milliseconds kFirstPause{50};
  constexpr std::chrono::milliseconds kLongestPause{1000};
  auto deadline = Clock::now() + patience.time;
  auto pause = kFirstPause;
  Killing killing(signal, recursive);
  std::optional<EventReader> events;
  std::uint64_t least = ~0ULL;
  for (;;) {
    {
      CTN_ASSIGN(Writer writer, open());
      if (!events) {
        CTN_ASSIGN(EventReader reader, EventReader::open(writer.pins(), EventReader::From::kNow));
        events.emplace(std::move(reader));
      }
      auto until = patience.total ? deadline : Clock::now() + patience.time;
      CTN_TRY(killing.round(writer, address, until));
    }
    auto next_round = Clock::now() + pause;
    for (;;) {
      while (events->next()) {
      }
      std::uint64_t left = killing.live();
      auto now = Clock::now();
      if (left < least) {
        least = left;
        if (!patience.total) deadline = now + patience.time;
      }
      if (left == 0 || now >= deadline) return killing.result(left);
      if (now >= next_round) break;
      auto rest =
          std::chrono::ceil<std::chrono::milliseconds>(std::min(deadline, next_round) - now);
      events->wait(static_cast<int>(rest.count()));
    }
    pause = std::min(2 * pause, kLongestPause);
  }
}

}  // namespace ctnbpf
