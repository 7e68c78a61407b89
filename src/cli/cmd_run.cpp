/* run: a command in containers, as if it ran alone. */
#include <fmt/format.h>
#include <unistd.h>

#include <chrono>
#include <map>

#include "context.h"
#include "ctnbpf/attach.h"
#include "ctnbpf/containers.h"
#include "ctnbpf/fsck.h"
#include "ctnbpf/membership.h"
#include "ctnbpf/subsystem.h"
#include "ctnbpf/tree.h"
#include "launch.h"
#include "meters.h"
#include "ctnbpf/owners.h"
#include "places.h"
#include "ctnbpf/settings.h"

namespace ctnbpf::cli {

using metrics::Meters;
namespace {

struct Options {
  std::vector<std::string> containers;
  std::optional<std::string> name;
  bool parents = false;
  bool keep = false;
  bool stat = false;
  bool best_effort = false;
  bool move = false;
  std::vector<std::string> settings;
  std::vector<std::string> by_option; /* --numtasks 5: "numtasks.limit=5" */
  std::vector<std::string> command;
};

std::vector<std::string> all_settings(const Options& options) {
  std::vector<std::string> out = options.settings;
  out.insert(out.end(), options.by_option.begin(), options.by_option.end());
  return out;
}

/* `run-PID`, or if somebody has that, such as a run that was killed, the first of run-PID-2, run-PID-3 ...
 * that nobody has in any of these hierarchies. */
std::string free_name(const State& state, const std::vector<std::uint32_t>& hierarchies) {
  std::string first = fmt::format("run-{}", ::getpid());
  std::string name = first;
  auto taken = [&](std::uint32_t h) { return tree::find_child(state, h, name) != 0; };
  for (int next = 2; std::any_of(hierarchies.begin(), hierarchies.end(), taken); next++)
    name = fmt::format("{}-{}", first, next);
  return name;
}

Result<std::vector<Place>> transient_places(Writer& writer, const Options& options,
                                            const std::vector<std::string>& settings,
                                            std::vector<Slot>& made) {
  std::vector<Place> places;
  CTN_ASSIGN(auto hierarchies, hierarchies_of_settings(writer, settings));
  std::string name = options.name ? *options.name : free_name(writer, hierarchies);
  std::optional<tree::Owner> owner;
  if (!options.keep) {
    CTN_ASSIGN(owner, this_owner(writer.pins()));
  }
  for (std::uint32_t hierarchy : hierarchies) {
    CTN_ASSIGN(Slot slot, tree::create(writer, hierarchy, name, owner));
    made.push_back(slot);
    places.push_back({slot, tree::address_of(writer, slot), true});
  }
  return places;
}

Result<std::vector<Place>> named_places(Writer& writer, const Options& options,
                                        std::vector<Slot>& made) {
  CTN_ASSIGN(std::vector<Address> addresses, distinct_addresses(writer, options.containers));
  std::vector<Place> places;
  for (const Address& address : addresses) {
    Result<Slot> at = options.parents ? tree::find_hierarchy(writer, address.hierarchy)
                                      : tree::find(writer, address);
    for (std::size_t i = 0; options.parents && at && i < address.path.size(); i++) {
      if (Slot child = tree::find_child(writer, *at, address.path[i]); child != 0) {
        at = child;
        continue;
      }
      at = tree::create(writer, *at, address.path[i]);
      if (at) made.push_back(*at);
    }
    if (!at) return at.error();
    places.push_back({*at, tree::address_of(writer, *at), false});
  }
  return places;
}

/* Makes the containers, sets them up and puts the waiting child in. */
Result<std::vector<Place>> try_place(Writer& writer, const Options& options, pid_t child,
                                     std::vector<Slot>& made) {
  std::vector<std::string> settings = all_settings(options);
  CTN_ASSIGN(std::vector<Place> places, options.containers.empty()
                                            ? transient_places(writer, options, settings, made)
                                            : named_places(writer, options, made));
  CTN_TRY(apply_settings(writer, slots_of(places), settings, options.best_effort, "-c"));
  for (const Place& one : places) CTN_TRY(attach(writer, one.slot, child, false));
  return places;
}

/* Containers that were made are removed again if a part fails; the child then ends by itself. `told`
 * gets what the child is to be told. */
Result<std::vector<Place>> place(const Context& context, const Options& options, pid_t child,
                                 std::string& told) {
  CTN_ASSIGN(Writer writer, open_writer(context, BringUp::kEnsure));
  writer.allow_moves(options.move);
  sweep_transient(writer);
  std::vector<Slot> made;
  auto places = try_place(writer, options, child, made);
  if (!places) {
    remove_made(writer, made);
    return places;
  }
  CTN_ASSIGN(told, what_to_tell(writer, *places));
  return places;
}

/* "cpu 21.90 s (user 19.2 sys 2.7)": what the container used during the run, where that is counted; else
 * what the command and the children it waited for did. */
std::string cpu_time(const State& state, const Place& place, const Meters& meters,
                     const Ended& ended) {
  for (const Subsystem* subsystem : bound_subsystems(state, state.nodes()[place.slot].hierarchy))
    if (const Meter* meter = meters.of(*subsystem); meter != nullptr)
      return meter->summary(place.slot);
  return ended.cpu_time();
}

void print_stat(const State& state, const std::vector<Place>& places, double wall,
                const Ended& ended, Meters& meters) {
  if (auto read = meters.read(state); !read) note(read.error().what);
  for (const Place& place : places) {
    std::string line =
        fmt::format("{}  wall {:.2f} s  {}", printable(tree::path_of(state, place.slot)), wall,
                    cpu_time(state, place, meters, ended));
    line += figures_text(state, place.slot);
    note(line);
  }
}

/* Removes what the run made; what tasks are left in stays, limits and all, until they are gone. */
Result<void> clean_up(const Context& context, const Options& options,
                      const std::vector<Place>& places, double wall, const Ended& ended,
                      Meters& meters) {
  bool transient =
      std::any_of(places.begin(), places.end(), [](const Place& one) { return one.transient; });
  if (!transient || options.keep) {
    CTN_ASSIGN(State state, State::open(context.pins()));
    if (options.stat) print_stat(state, places, wall, ended, meters);
    return {};
  }
  CTN_ASSIGN(Writer writer, open_writer(context));
  if (options.stat) print_stat(writer, places, wall, ended, meters);
  for (const Place& one : places) {
    /* Another command may have removed it; the slot's name tells. */
    auto slot = tree::find(writer, printable(one.address));
    if (!one.transient || !slot || *slot != one.slot) continue;
    std::uint32_t live = live_tasks(writer.nodes()[one.slot]);
    if (auto removed = tree::remove(writer, one.slot, true); !removed) {
      note(fmt::format("{} stays: {}", printable(one.address), removed.error().what));
      continue;
    }
    if (live != 0)
      note(fmt::format("{} still has {} task{}: it lingers with its limits until they end",
                       printable(one.address), live, live == 1 ? "" : "s"));
  }
  return {};
}

/* What there is before the command begins. */
Result<void> read_meters(const Context& context, Meters& meters) {
  CTN_ASSIGN(State state, State::open(context.pins()));
  return meters.read(state);
}

int run(const Context& context, const Options& options) {
  auto own_failure = [&](const Error& error) {
    (void)fail(context, error);
    return kRunFailed;
  };
  auto child = Launch::start(options.command, hear);
  if (!child) return own_failure(child.error());
  ::signal(SIGPIPE, SIG_IGN); /* ours alone: a message nobody reads must not stop the cleaning up */
  std::string told;
  auto places = place(context, options, child->pid(), told);
  if (!places) {
    child->abandon();
    return own_failure(with_cure(places.error()));
  }
  Meters meters;
  if (options.stat)
    if (auto read = read_meters(context, meters); !read) note(read.error().what);
  auto started = std::chrono::steady_clock::now();
  int code = 0;
  Ended ended;
  if (auto released = child->release(told); !released) {
    (void)fail(context,
               released.error().within(fmt::format("'{}'", printable(options.command[0]))));
    code = exec_failure(released.error().code);
  } else {
    ended = child->wait();
    code = ended.exit_code();
  }
  std::chrono::duration<double> wall = std::chrono::steady_clock::now() - started;
  if (auto cleaned = clean_up(context, options, *places, wall.count(), ended, meters); !cleaned)
    report(context, cleaned.error());
  return code;
}

}  // namespace

void add_run(CLI::App& app, Context& context) {
  auto options = std::make_shared<Options>();
  app.add_option("-c,--container", options->containers,
                 "run in this container (one of each hierarchy)")
      ->type_name("ADDR")
      ->allow_extra_args(false);
  app.add_option_function<std::string>(
      "--name", [options](const std::string& name) { options->name = from_printable(name); },
      "name of the container made for this run (run-PID)");
  app.add_flag("-p,--parents", options->parents, "make the containers of -c if they are missing");
  app.add_flag("--keep", options->keep, "do not remove the container made for this run");
  for (const Subsystem* subsystem : subsystems())
    for (const Attribute& attribute : subsystem->attributes)
      if (attribute.run_option != nullptr)
        app.add_option_function<std::string>(
               attribute.run_option,
               [options, name = fmt::format("{}.{}", subsystem->name, attribute.name)](
                   const std::string& value) { options->by_option.push_back(name + "=" + value); },
               attribute.help)
            ->type_name("VALUE");
  app.add_option("-s,--set", options->settings, "set an attribute of the container")
      ->type_name("ATTR=VALUE")
      ->allow_extra_args(false);
  app.add_flag("--stat", options->stat, "print time, peaks and refusals at the end");
  app.add_flag("--best-effort", options->best_effort, "also limits this kernel cannot enforce");
  app.add_flag("--move", options->move,
               "also out of a group of a service manager or with limits (`doctor`)");
  app.footer(
      "Without -c, COMMAND gets a container of its own, made in the default hierarchy on first\n"
      "use and removed at the end. Examples:\n"
      "  ctnbpf run --numtasks 64 --stat -- make -j8\n"
      "  ctnbpf run -c numtasks:/build -c groups:/tests sh -c 'make && make check'\n"
      "Exit codes: COMMAND's own; 128+N when signal N ended it; 127 COMMAND not found, 126 it\n"
      "cannot be executed; 125 ctnbpf failed or the kernel lacks what was asked; 2 usage.");
  app.callback([&context, options] {
    options->command = context.command;
    if (options->command.empty()) throw CLI::RequiredError("COMMAND");
    if (options->name && !options->containers.empty()) throw CLI::ExcludesError("--name", "-c");
    context.exit_code = run(context, *options);
  });
}

}  // namespace ctnbpf::cli
