/* events */
#include <fmt/chrono.h>
#include <fmt/format.h>

#include <ctime>
#include <nlohmann/json.hpp>

#include "context.h"
#include "ctnbpf/events.h"
#include "ctnbpf/removed.h"
#include "ctnbpf/tree.h"

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

void print_event(const Context& context, const State& state, const ctn_event& event) {
  timespec wall = wall_time(event.time_ns);
  Named container = container_then(state, event.slot, event.generation);
  Named by = container_then(state, event.by_slot, event.by_generation);
  std::string comm(event.comm, ::strnlen(event.comm, sizeof(event.comm)));
  bool refusal = event.kind <= CTN_EVENT_FILE_REFUSED;
  if (context.json) {
    nlohmann::ordered_json one;
    one["event"] = event_name(event.kind);
    one["time_ns"] = ns_of(wall);
    one["container"] = container.json();
    if (refusal) one["by"] = by.json();
    one["pid"] = event.pid;
    one["tid"] = event.tid;
    one["uid"] = event.uid;
    one["comm"] = portable(comm);
    fmt::print("{}\n", json_text(one, -1));
    return;
  }
  std::string line =
      fmt::format("{:%H:%M:%S}.{:03} {:<13} {}", fmt::localtime(wall.tv_sec),
                  wall.tv_nsec / 1'000'000, event_name(event.kind), container.text());
  if (refusal && event.by_slot != event.slot) line += fmt::format(" by {}", by.text());
  fmt::print("{}  pid {} ({}) uid {}\n", line, event.pid, printable(comm), event.uid);
}

/* A reader's view ends at the slots that were in use when it was opened. */
Result<void> refresh(const Context& context, State& state, const ctn_event& event) {
  if (std::max(event.slot, event.by_slot) < state.nodes().size()) return {};
  CTN_ASSIGN(state, State::open(context.pins()));
  return {};
}

Result<void> events(const Context& context, bool follow, bool since_start) {
  CTN_ASSIGN(State state, State::open(context.pins()));
  CTN_ASSIGN(
      EventReader reader,
      EventReader::open(context.pins(), follow && !since_start ? EventReader::From::kNow
                                                               : EventReader::From::kOldest));
  for (;;) {
    while (auto event = reader.next()) {
      print_lost(context, reader.take_lost());
      if (event->kind == CTN_EVENT_EMPTIED) continue; /* between the kernel side and `kill` */
      CTN_TRY(refresh(context, state, *event));
      print_event(context, state, *event);
    }
    print_lost(context, reader.take_lost());
    if (!follow && !reader.held()) return {};
    if (std::fflush(stdout) != 0) return system_error("write to standard output");
    reader.wait(-1);
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
      "and removed ones that nothing holds any more (gone). The last 4096 are known. With --json\n"
      "one object a line.");
  app.callback([&context, options] {
    if (auto done = events(context, options->follow, options->since_start); !done)
      context.exit_code = fail(context, done.error());
  });
}

}  // namespace ctnbpf::cli
