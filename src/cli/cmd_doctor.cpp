/* doctor, fsck */
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "context.h"
#include "ctnbpf/fsck.h"
#include "ctnbpf/levels.h"
#include "ctnbpf/subsystem.h"
#include "ctnbpf/program_stats.h"

namespace ctnbpf::cli {
namespace {

constexpr int kCannotTell = 2; /* doctor's own meaning of 2 */

const char* kMissNames[CTN_MISS_NR] = {
    "forks refused because the task table was full",
    "children put right by the backstop",
    "exits seen only when the task was freed",
    "opens refused because the table of files was full",
    "open files charged after they were made, as no gate saw them",
    "open files whose charge was lost as the table of files was full",
    "children born outside of their CPUs in the middle of a change",
    "forks refused because all that is lent of the task table was lent",
    "opens refused because all that is lent of the table of files was lent",
};

const char* kLentNouns[CTN_LEND_NR] = {"tasks", "open files"};

std::string level_meaning(std::uint32_t level, bool caveats) {
  switch (level) {
    case CTN_LEVEL_STRICT:
      return caveats ? "everything works and is enforced, but for what is said below"
                     : "everything works and is enforced";
    case CTN_LEVEL_FALLBACK:
      return "everything works; enforcement is best-effort where the kernel may skip tracing programs "
             "(preempt=full and lazy)";
    case CTN_LEVEL_ACCOUNTING: return "membership and counts work; no limit can be enforced";
    default: return "nothing works";
  }
}

/* Of the subsystems that are in use, or of all where none is: those that do nothing here apart. */
std::vector<const Subsystem*> in_use(const Levels& levels, const State* state) {
  std::vector<const Subsystem*> out;
  for (bool bound : {true, false}) {
    for (const Subsystem* subsystem : subsystems()) {
      bool is_bound = state != nullptr && load(state->core().bound[subsystem->id]) != 0;
      if (is_bound == bound && level_of(*subsystem, levels.level) != CTN_LEVEL_NONE)
        out.push_back(subsystem);
    }
    if (!out.empty()) break;
  }
  return out;
}

/* The level of the whole is that of the weakest. */
std::uint32_t weakest(const Levels& levels, const std::vector<const Subsystem*>& of) {
  std::uint32_t level = levels.task();
  for (const Subsystem* subsystem : of) level = std::min(level, level_of(*subsystem, levels.level));
  return level;
}

bool any_caveat(const std::vector<const Subsystem*>& of, const State* state) {
  return state != nullptr && std::any_of(of.begin(), of.end(), [&](const Subsystem* one) {
           return !caveat_of(*one, *state).empty();
         });
}

/* What is in the kernel now, besides what the core record says. */
struct InKernel {
  std::uint64_t memory = 0; /* bytes that the maps take */
  std::uint64_t tasks = 0;  /* records in the tables */
  std::uint64_t files = 0;
  std::uint64_t skipped = 0;          /* runs the kernel left out, of all programs */
  std::vector<ProgramStats> skipping; /* programs that have such runs */
};

Result<InKernel> in_kernel(const State& state) {
  InKernel found;
  CTN_ASSIGN(found.memory, map_memory(state.pins()));
  CTN_ASSIGN(found.tasks, table_entries(state.pins(), "task"));
  CTN_ASSIGN(found.files, table_entries(state.pins(), "file"));
  CTN_ASSIGN(auto programs, program_stats(state.pins(), 0));
  for (const ProgramStats& one : programs) {
    if (one.skipped == 0) continue;
    found.skipped += one.skipped;
    found.skipping.push_back(one);
  }
  return found;
}

void print_state(const State& state, const InKernel& found) {
  const ctn_core& core = state.core();
  fmt::print("\nin the kernel: up at level {}, {} of {} containers, {} lingering\n",
             level_name(core.level[CTN_HOOKS_TASK]), load(core.containers), core.max_containers,
             load(core.lingering));
  fmt::print("  tables: {} of {} tasks, {} of {} open files\n", found.tasks, core.max_tasks,
             found.files, core.max_files);
  for (int i = 0; i < CTN_LEND_NR; i++) {
    const ctn_lending& one = core.lending[i];
    fmt::print(
        "  shared out: {} {} are each container's own; {} of {} beyond that are lent, then only to\n"
        "    containers under a limit of at most {}\n",
        one.own, kLentNouns[i], load(one.lent), one.most, one.bounded);
  }
  fmt::print("  memory: {:.1f} MiB for {} containers, {} tasks and {} open files on {} CPUs\n",
             static_cast<double>(found.memory) / 1048576, core.max_containers, core.max_tasks,
             core.max_files, core.cpus);
  if (found.skipped != 0)
    fmt::print("  runs the kernel skipped, as it had preempted a task inside of the program: {}\n",
               found.skipped);
  for (const ProgramStats& one : found.skipping)
    fmt::print("    {}: {}; {}\n", one.hook, one.skipped, one.consequence);
  for (int i = 0; i < CTN_MISS_NR; i++)
    if (std::uint64_t count = load(core.misses[i]); count != 0)
      fmt::print("  {}: {}\n", kMissNames[i], count);
}

int doctor(const Context& context) {
  if (::geteuid() != 0) {
    report(context,
           {EPERM, "`ctnbpf doctor` needs root to try the hooks: run `sudo ctnbpf doctor`"});
    return kCannotTell;
  }
  KernelFacts facts = kernel_facts();
  auto levels = probe_levels();
  if (!levels) {
    report(context, levels.error());
    return levels.error().code == ENOTSUP ? kKernelLacks : kCannotTell;
  }
  std::string cure = cure_for(*levels, facts);
  auto state = State::open(context.pins());
  auto found = state ? in_kernel(*state) : Result<InKernel>(InKernel{});
  if (!found) {
    report(context, found.error());
    return kCannotTell;
  }
  const State* up = state ? &*state : nullptr;
  auto used = in_use(*levels, up);
  std::uint32_t level = weakest(*levels, used);
  int code = level == CTN_LEVEL_STRICT && levels->level[CTN_HOOKS_REAP] != CTN_LEVEL_NONE
                 ? kDone
                 : kKernelLacks;

  if (context.json) {
    nlohmann::ordered_json json;
    json["kernel"] = facts.release;
    json["level"] = level_name(level);
    json["lsm"] = facts.lsm_known ? nlohmann::ordered_json(facts.lsm) : nlohmann::ordered_json();
    json["preempt"] = facts.preempt;
    json["skips"] = levels->skips;
    json["cure"] = cure;
    for (const ProbedHook& hook : levels->hooks)
      json["hooks"].push_back(
          {{"hook", hook.hook}, {"works", hook.works}, {"reason", hook.reason}});
    for (const Subsystem* subsystem : subsystems()) {
      nlohmann::ordered_json one{{"name", subsystem->name},
                                 {"level", level_name(level_of(*subsystem, levels->level))}};
      if (up != nullptr) one["caveat"] = caveat_of(*subsystem, *up);
      if (subsystem->ways != nullptr) one["ways"] = subsystem->ways(state ? &*state : nullptr);
      json["subsystems"].push_back(one);
    }
    if (state) {
      json["up"] = {{"level", level_name(state->core().level[CTN_HOOKS_TASK])},
                    {"containers", load(state->core().containers)},
                    {"max_containers", state->core().max_containers},
                    {"lingering", load(state->core().lingering)},
                    {"tasks", found->tasks},
                    {"max_tasks", state->core().max_tasks},
                    {"files", found->files},
                    {"max_files", state->core().max_files},
                    {"skipped_runs", found->skipped},
                    {"skipped", nlohmann::ordered_json::array()},
                    {"memory_bytes", found->memory}};
      for (const ProgramStats& one : found->skipping)
        json["up"]["skipped"].push_back({{"program", one.name},
                                         {"hook", one.hook},
                                         {"skipped", one.skipped},
                                         {"consequence", one.consequence}});
      for (int i = 0; i < CTN_LEND_NR; i++) {
        const ctn_lending& one = state->core().lending[i];
        json["up"]["lending"][kLentNouns[i]] = {{"own", one.own},
                                                {"most", one.most},
                                                {"bounded", one.bounded},
                                                {"lent", load(one.lent)}};
      }
      for (int i = 0; i < CTN_MISS_NR; i++)
        json["up"]["misses"][kMissNames[i]] = load(state->core().misses[i]);
    } else if (state.error().code != ENOENT) {
      json["up"] = {{"error", state.error().what}};
      note(state.error().what);
    }
    print_json(json);
    return code;
  }

  fmt::print("level {}: {}\n", level_name(level), level_meaning(level, any_caveat(used, up)));
  fmt::print("kernel {}{}\n", facts.release,
             facts.preempt.empty() ? "" : ", preempt=" + facts.preempt);
  if (facts.lsm_known)
    fmt::print("active LSM list: {} ({})\n", facts.lsm,
               facts.lsm_has_bpf ? "has bpf" : "bpf is missing");
  else
    fmt::print("active LSM list: cannot be read (no /sys/kernel/security/lsm)\n");
  fmt::print("\n");
  for (const ProbedHook& hook : levels->hooks)
    fmt::print("  {:<36} {}\n", hook.hook, hook.works ? "works" : hook.reason);
  fmt::print("\n");
  for (const Subsystem* subsystem : subsystems()) {
    fmt::print("  {:<10} {}\n", subsystem->name, level_name(level_of(*subsystem, levels->level)));
    if (std::string but = up != nullptr ? caveat_of(*subsystem, *up) : ""; !but.empty())
      fmt::print("  {:<10}   limits: {}\n", "", but);
    if (subsystem->ways != nullptr)
      for (const std::string& way : subsystem->ways(state ? &*state : nullptr))
        fmt::print("  {:<10}   {}\n", "", way);
  }
  if (!cure.empty()) fmt::print("\nfor level strict: {}\n", cure);
  if (state)
    print_state(*state, *found);
  else if (state.error().code != ENOENT)
    report(context, state.error());
  return code;
}

}  // namespace

void add_doctor(CLI::App& app, Context& context) {
  app.footer("Exit codes: 0 level strict, 3 something is missing, 2 cannot tell.");
  app.callback([&context] { context.exit_code = doctor(context); });
}

void add_fsck(CLI::App& app, Context& context) {
  auto repair = std::make_shared<bool>(false);
  app.add_flag("--repair", *repair, "mend what can be mended, and sweep what the dead left");
  app.footer(
      "`ctnbpf -v fsck` and --json also tell of files of members that nobody is charged for.\n"
      "Exit codes: 0 all is well (or was repaired), 1 something is wrong.");
  app.callback([&context, repair] {
    auto done = [&]() -> Result<FsckReport> {
      CTN_ASSIGN(Writer writer, open_writer(context));
      return fsck(writer, *repair);
    }();
    if (!done) {
      context.exit_code = fail(context, done.error());
      return;
    }
    if (context.json)
      print_json({{"problems", done->problems},
                  {"repaired", done->repaired},
                  {"left", done->left},
                  {"remarks", done->remarks}});
    else
      for (const std::string& one : done->problems) fmt::print("{}\n", one);
    if (!context.json)
      for (const std::string& one : done->repaired) fmt::print("{}\n", one);
    if (!context.json && context.verbose)
      for (const std::string& one : done->remarks) fmt::print("note: {}\n", one);
    if (!context.json && done->problems.empty() && done->repaired.empty()) fmt::print("clean\n");
    context.exit_code = done->left.empty() ? kDone : kFailed;
  });
}

}  // namespace ctnbpf::cli
