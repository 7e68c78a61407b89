/* events */
#include <fmt/chrono.h>
#include <fmt/format.h>

#include <ctime>
#include <deque>
#include <nlohmann/json.hpp>
#include <optional>

#include "context.h"
#include "ctnbpf/events.h"
#include "ctnbpf/membership.h"
#include "ctnbpf/removed.h"
#include "ctnbpf/tree.h"
#include "ctnbpf/namespaces.h"

namespace ctnbpf::cli {
namespace {

/* CLOCK_BOOTTIME to the wall clock. */
timespec wall_time(std::uint64_t boot_ns) {
  timespec now = {};
  timespec boot = {};
  ::clock_gettime(CLOCK_REALTIME, &now);
  ::clock_gettime(CLOCK_BOOTTIME, &boot);
  auto ns = [](const timespec& t) { return std::int64_t{t.tv_sec} * 1'000'000'000 + t.tv_nsec; };
  std::int64_t at = ns(now) - ns(boot) + static_cast<std::int64_t>(boot_ns);
  return {at / 1'000'000'000, at % 1'000'000'000};
}

std::uint64_t ns_of(const timespec& time) {
  return static_cast<std::uint64_t>(time.tv_sec) * 1'000'000'000 +
         static_cast<std::uint64_t>(time.tv_nsec);
}

struct Named {
  std::string address; /* empty: nobody knows any more */
  bool removed = false;

  nlohmann::ordered_json json() const {
    return address.empty() ? nlohmann::ordered_json() : nlohmann::ordered_json(portable(address));
  }
  std::string text() const {
    return address.empty() ? "(gone)" : printable(address) + (removed ? " (removed)" : "");
  }
};

/* A container that may be gone since the event, by its tombstone then. */
Named container_then(const State& state, Slot slot, std::uint32_t generation) {
  if (slot < state.nodes().size()) {
    const ctn_node& node = state.nodes()[slot];
    std::uint8_t now = load(node.state);
    if (node.generation == generation && now != CTN_FREE)
      return {tree::address_of(state, slot), now == CTN_REMOVED};
  }
  return {removed_address(state, slot, generation), true};
}

void print_lost(const Context& context, std::uint64_t lost) {
  if (lost == 0) return;
  if (context.json)
    fmt::print("{}\n", json_text({{"event", "lost"}, {"count", lost}}, -1));
  else
    fmt::print("({} events lost: the last {} are kept)\n", lost, CTN_EVENT_LOG);
}

/* What our pid namespace calls a task that had these numbers then: none for one it does not know, or that is
 * gone since. */
struct Numbers {
  std::optional<std::uint32_t> pid;
  std::optional<std::uint32_t> tid;
};
Numbers numbers_here(const Context& context, const ctn_event& event) {
  if (in_initial_pid_namespace()) return {event.pid, event.tid};
  Numbers found;
  auto tasks = walk_tasks(context.pins());
  if (!tasks) return found;
  for (const ctn_walk_task& task : *tasks) {
    if (task.global_tgid != event.pid || task.start_ns > event.time_ns) continue;
    found.pid = task.tgid;
    if (task.global_tid == event.tid) found.tid = task.tid;
  }
  return found;
}

nlohmann::ordered_json number_json(std::optional<std::uint32_t> number) {
  return number ? nlohmann::ordered_json(*number) : nlohmann::ordered_json();
}

std::string clock_time(const timespec& time) {
  return fmt::format("{:%H:%M:%S}.{:03}", fmt::localtime(time.tv_sec), time.tv_nsec / 1'000'000);
}

/* `told`: so many of the refusals it stands for were printed before. */
void print_event(const Context& context, const State& state, const ctn_event& event,
                 std::uint64_t told = 0) {
  Numbers numbers = numbers_here(context, event);
  timespec first = wall_time(event.time_ns);
  timespec last = wall_time(event.last_ns);
  const timespec& wall = told == 0 ? first : last;
  std::uint64_t count = event.count - told;
  Named container = container_then(state, event.slot, event.generation);
  Named by = container_then(state, event.by_slot, event.by_generation);
  std::string comm(event.comm, ::strnlen(event.comm, sizeof(event.comm)));
  bool refusal = ctn_is_refusal(event.kind);
  if (context.json) {
    nlohmann::ordered_json one;
    one["event"] = event_name(event.kind);
    one["time_ns"] = ns_of(wall);
    one["container"] = container.json();
    if (refusal) one["by"] = by.json();
    one["pid"] = number_json(numbers.pid);
    one["tid"] = number_json(numbers.tid);
    one["uid"] = event.uid;
    one["comm"] = portable(comm);
    one["count"] = count;
    one["first_time_ns"] = ns_of(first);
    one["last_time_ns"] = ns_of(last);
    fmt::print("{}\n", json_text(one, -1));
    return;
  }
  std::string line =
      fmt::format("{} {:<13} {}", clock_time(wall), event_name(event.kind), container.text());
  if (refusal && event.by_slot != event.slot) line += fmt::format(" by {}", by.text());
  line += fmt::format("  pid {} ({}) uid {}", numbers.pid ? std::to_string(*numbers.pid) : "-",
                      printable(comm), event.uid);
  if (told != 0)
    line += fmt::format("  {} more since {}", count, clock_time(first));
  else if (count > 1)
    line += fmt::format("  {} times until {}", count, clock_time(last));
  fmt::print("{}\n", line);
}

std::uint64_t boot_time() {
  timespec now = {};
  ::clock_gettime(CLOCK_BOOTTIME, &now);
  return ns_of(now);
}

/* With -f a refusal is printed when it comes; those like it that are counted in the same record meanwhile are
 * printed when its second is over. */
class Rest {
 public:
  void printed(const ctn_event& event) {
    if (ctn_is_refusal(event.kind) && boot_time() < closed_at(event)) open_.push_back(event);
  }
  template <typename Print>
  void print(EventReader& reader, const Print& print) {
    for (; !open_.empty() && boot_time() >= closed_at(open_.front()); open_.pop_front())
      if (auto now = reader.again(open_.front()); now && now->count > open_.front().count)
        print(*now, open_.front().count);
  }
  /* Until the next is to be printed; -1: there is none. */
  int wait_ms() const {
    if (open_.empty()) return -1;
    std::uint64_t now = boot_time();
    std::uint64_t at = closed_at(open_.front());
    return at <= now ? 0 : static_cast<int>((at - now) / 1'000'000 + 1);
  }

 private:
  /* A program that was about to count may be late. */
  static std::uint64_t closed_at(const ctn_event& event) {
    constexpr std::uint64_t kLate = 100'000'000;
    return event.time_ns + CTN_REFUSALS_NS + kLate;
  }
  std::deque<ctn_event> open_; /* as printed */
};

/* A reader's view ends at the slots that were in use when it was opened. */
Result<void> refresh(const Context& context, State& state, const ctn_event& event) {
  if (std::max(event.slot, event.by_slot) < state.nodes().size()) return {};
  CTN_ASSIGN(state, State::open(context.pins()));
  return {};
}

Result<void> events(const Context& context, bool follow, bool since_start) {
  CTN_ASSIGN(State state, State::open(context.pins()));
  CTN_ASSIGN(EventReader reader, EventReader::open(context.pins(), EventReader::From::kOldest));
  Rest rest;
  if (follow && !since_start) {
    /* What is there is not printed; but refusals to come may be counted in a record that is. */
    while (!reader.caught_up())
      if (auto event = reader.next())
        rest.printed(*event);
      else if (reader.held())
        reader.wait(-1);
    (void)reader.take_lost();
  }
  for (;;) {
    while (follow || !reader.caught_up()) {
      auto event = reader.next();
      if (!event) break;
      print_lost(context, reader.take_lost());
      if (event->kind == CTN_EVENT_EMPTIED) continue; /* between the kernel side and `kill` */
      CTN_TRY(refresh(context, state, *event));
      print_event(context, state, *event);
      rest.printed(*event);
    }
    if (follow)
      rest.print(reader, [&](const ctn_event& event, std::uint64_t told) {
        print_event(context, state, event, told);
      });
    print_lost(context, reader.take_lost());
    if (!follow && (reader.caught_up() || !reader.held())) return {};
    if (std::fflush(stdout) != 0) return system_error("write to standard output");
    reader.wait(rest.wait_ms());
  }
}

}  // namespace

void add_events(CLI::App& app, Context& context) {
  struct Options {
    bool follow = false;
    bool since_start = false;
  };
  auto options = std::make_shared<Options>();
  app.add_flag("-f,--follow", options->follow, "wait for new events, and print only those");
  app.add_flag("--since-start", options->since_start, "with -f: first those that are still known");
  app.footer(
      "Refused forks and opens, containers that became empty (released; with notify_on_release)\n"
      "and removed ones that nothing holds any more (gone). The last 4096 are known. Refusals of one\n"
      "container by one other are one event a second, with their count; with -f the first is shown at\n"
      "once, the others when the second is over. With --json one object a line. Without -f it ends\n"
      "with what there was when it began.");
  app.callback([&context, options] {
    if (auto done = events(context, options->follow, options->since_start); !done)
      context.exit_code = fail(context, done.error());
  });
}

}  // namespace ctnbpf::cli
