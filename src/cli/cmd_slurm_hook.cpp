/* slurm-hook: the tasks of a step of a Slurm job in a container of ours; what the SPANK plugin starts. */
#include <fmt/format.h>

#include <algorithm>

#include "context.h"
#include "ctnbpf/attach.h"
#include "ctnbpf/containers.h"
#include "ctnbpf/fsck.h"
#include "ctnbpf/membership.h"
#include "ctnbpf/subsystem.h"
#include "ctnbpf/tree.h"
#include "options.h"
#include "slurm.h"
#include "meters.h"
#include "places.h"
#include "ctnbpf/settings.h"

namespace ctnbpf::cli {
namespace {

constexpr const char* kDefaultParent = "slurm"; /* below the root */

struct Options {
  std::uint32_t job = 0;
  std::string step;
  std::string stepd;
  std::string partition;
  bool stat = false;
  std::vector<std::string> conf;
  std::vector<std::string> asked;
  std::vector<std::string> pids;

  std::string who() const { return fmt::format("step {}.{}", job, printable(step)); }
};

/* Containers of a step belong to its slurmstepd: should that be killed, they go when they are empty. */
Result<tree::Owner> owner_of(const State& state, const Options& options) {
  CTN_ASSIGN(int pid, parse_pid(options.stepd));
  CTN_ASSIGN(ctn_walk_task task, live_task(state.pins(), pid));
  return tree::Owner{task.global_tgid, task.start_ns};
}

/* The first of step_S, step_S-2, ... that nobody has: of a step with this number whose slurmstepd was killed some
 * process may still run, and two slurmd of one machine may both have a part of it. */
std::string free_name(const State& state, const std::vector<Slot>& jobs, const std::string& step) {
  const std::string first = "step_" + step;
  std::string name = first;
  auto taken = [&](Slot job) { return tree::find_child(state, job, name) != 0; };
  for (int next = 2; std::any_of(jobs.begin(), jobs.end(), taken); next++)
    name = fmt::format("{}-{}", first, next);
  return name;
}

Result<void> try_begin(Writer& writer, const Options& options, const slurm::Wish& wish,
                       std::vector<Slot>& made) {
  std::vector<std::string> all = wish.step;
  all.insert(all.end(), wish.job.begin(), wish.job.end());
  CTN_ASSIGN(tree::Owner owner, owner_of(writer, options));
  CTN_ASSIGN(auto parents, engines::parents_of(writer, wish.parents, all, kDefaultParent, true));
  std::vector<Slot> jobs, steps;
  for (Slot parent : parents) {
    const std::string name = fmt::format("job_{}", options.job);
    Slot job = tree::find_child(writer, parent, name);
    if (job == 0) {
      CTN_ASSIGN(job, tree::create(writer, parent, name, owner));
      made.push_back(job);
    }
    jobs.push_back(job);
  }
  /* The job's limits are those of plugstack.conf now, also where a step before this one made it. */
  CTN_TRY(apply_settings(writer, jobs, wish.job, wish.best_effort, "container="));
  const std::string name = free_name(writer, jobs, options.step);
  for (Slot job : jobs) {
    CTN_ASSIGN(Slot step, tree::create(writer, job, name, owner));
    made.push_back(step);
    steps.push_back(step);
  }
  CTN_TRY(apply_settings(writer, steps, wish.step, wish.best_effort, "container="));
  for (const std::string& text : options.pids) {
    CTN_ASSIGN(int pid, parse_pid(text));
    for (Slot step : steps) CTN_TRY(attach(writer, step, pid, false));
  }
  return {};
}

Result<void> begin(const Context& context, const Options& options) {
  if (options.pids.empty()) return Error{EINVAL, "no PID given: `begin` takes those of the tasks"};
  CTN_ASSIGN(auto wish, slurm::wish_of(options.conf, options.asked, options.partition));
  CTN_ASSIGN(Writer writer, open_writer(context, BringUp::kEnsure, Writer::Slots::kUsed));
  sweep_transient(writer);
  std::vector<Slot> made;
  auto done = try_begin(writer, options, wish, made);
  if (!done) remove_made(writer, made);
  return done;
}

/* Containers of this name that this slurmstepd made. */
std::vector<Slot> owned(const State& state, const tree::Owner& owner, const std::string& prefix) {
  std::vector<Slot> out;
  for (Slot slot = CTN_MAX_HIER; slot < state.nodes().size(); slot++) {
    const ctn_node& node = state.nodes()[slot];
    const ctn_info& info = state.infos()[slot];
    if (node.state == CTN_ACTIVE && (node.flags & CTN_TRANSIENT) != 0 &&
        info.owner_pid == owner.pid && info.owner_start == owner.start &&
        tree::name_of(state, slot).starts_with(prefix))
      out.push_back(slot);
  }
  return out;
}

bool refused_any(const State& state, Slot slot) {
  for (const Subsystem* subsystem : bound_subsystems(state, state.nodes()[slot].hierarchy)) {
    if (subsystem->figures == nullptr) continue;
    auto figures = subsystem->figures(state, slot);
    if (figures && figures->refused + figures->refused_by_rate.value_or(0) != 0) return true;
  }
  return false;
}

/* With `stat`, or if one of its limits refused something: who was refused is to know by what. */
void tell(const State& state, Slot slot, bool stat, const metrics::Meters& meters) {
  if (!stat && !refused_any(state, slot)) return;
  std::string line = printable(tree::address_of(state, slot));
  for (const Subsystem* subsystem : bound_subsystems(state, state.nodes()[slot].hierarchy))
    if (const Meter* meter = meters.of(*subsystem); meter != nullptr)
      line += "  " + meter->summary(slot);
  note(line + figures_text(state, slot));
}

/* What still holds a step's, such as a process that it left, lets it linger. */
Result<void> end(const Context& context, const Options& options) {
  CTN_ASSIGN(auto wish, slurm::wish_of(options.conf, {}, options.partition));
  auto opened = open_writer(context, BringUp::kNo, Writer::Slots::kUsed);
  if (!opened && opened.error().code == ENOENT) return {}; /* `down` meanwhile */
  if (!opened) return opened.error();
  Writer& writer = *opened;
  CTN_ASSIGN(tree::Owner owner, owner_of(writer, options));
  metrics::Meters meters;
  const bool stat = options.stat || wish.stat;
  if (stat) CTN_TRY(meters.read(writer));
  for (Slot step : owned(writer, owner, "step_" + options.step)) {
    Slot job = writer.nodes()[step].parent;
    tell(writer, step, stat, meters);
    CTN_TRY(tree::remove(writer, step, true));
    if (writer.nodes()[job].children != 0) continue; /* other steps of it */
    tell(writer, job, stat, meters);
    CTN_TRY(tree::remove(writer, job, true));
  }
  return {};
}

int hook(const Context& context, const Options& options,
         Result<void> (*what)(const Context&, const Options&)) {
  auto done = what(context, options);
  return done ? kDone : fail(context, with_cure(done.error()).within(options.who()));
}

}  // namespace

void add_slurm_hook(CLI::App& app, Context& context) {
  auto options = std::make_shared<Options>();
  app.require_subcommand(1);
  auto* begins = app.add_subcommand("begin", "put the tasks of a step into its container");
  auto* ends = app.add_subcommand("end", "remove that, and say what was refused there");
  for (CLI::App* sub : {begins, ends}) {
    sub->add_option("--job", options->job, "number of the job")->required()->type_name("ID");
    sub->add_option("--step", options->step, "number of the step, or batch")
        ->required()
        ->type_name("ID");
    sub->add_option("--stepd", options->stepd, "the slurmstepd it is for")
        ->required()
        ->type_name("PID");
    sub->add_option("--partition", options->partition, "the job's partition")->type_name("NAME");
    sub->add_option("--conf", options->conf, "a word of plugstack.conf")
        ->type_name("WORD")
        ->allow_extra_args(false);
    sub->add_flag("--stat", options->stat, "say at the end what was used");
  }
  begins->add_option("--ask", options->asked, "an option of `run` that the user asks for")
      ->type_name("X=VALUE")
      ->allow_extra_args(false);
  begins->add_option("PID", options->pids, "the tasks, none of which runs its program yet")
      ->required();
  app.footer(
      "What the SPANK plugin spank_ctnbpf.so starts at the begin and end of a step. Its words in\n"
      "plugstack.conf, where X is numtasks, numfiles, forkrate, cpus or mems, as of `run`:\n"
      "  X=VALUE           each step has it, unless its user asks for another (--ctn-X=VALUE)\n"
      "  max-X=VALUE       the most a user can ask for; without it that is X=VALUE, if there is one\n"
      "  job-X=VALUE       of all steps of a job on a node together\n"
      "  X@PARTITION=VALUE in place of each of these for jobs of that partition\n"
      "  container=ADDR    job_ID/step_ID are made below this, which has to be there (HIER:/slurm)\n"
      "  best-effort       start it also where this kernel cannot hold a limit\n"
      "  stat              say at the end of each step and job what it used\n"
      "  ctnbpf=PATH       this command");
  begins->callback([&context, options] { context.exit_code = hook(context, *options, begin); });
  ends->callback([&context, options] { context.exit_code = hook(context, *options, end); });
}

}  // namespace ctnbpf::cli
