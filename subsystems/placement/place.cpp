#include "placement/place.h"

#include <algorithm>
#include <map>
#include <set>

#include "ctnbpf/tree.h"
#include "placement/affinity.h"
#include "walk.h"

namespace ctnbpf::placement {

IndexSet everything() { return IndexSet(std::vector<std::uint64_t>(place_words(), ~std::uint64_t{0})); }

namespace {

using Chosen = std::function<bool(const ctn_walk_task&)>;
using Process = std::vector<const ctn_walk_task*>;

const Chosen kNobody = [](const ctn_walk_task&) { return false; };
const Chosen kAnybody = [](const ctn_walk_task&) { return true; };

/* One placing of many tasks: passes over all tasks until one finds nothing to do. */
class Work {
 public:
  /* With `free`, as if nothing confined anybody. */
  static Result<Work> begin(Writer& writer, bool may_move, bool free = false) {
    Work work(writer, may_move);
    work.free_ = free;
    CTN_ASSIGN(work.moves_, writer.array<std::uint32_t>("moves", 1));
    CTN_ASSIGN(work.placer_, Placer::open(writer));
    for (auto [version, groups] : {std::pair{Groups::Version::kV2, &work.v2_}, {Groups::Version::kV1, &work.v1_}})
      if (auto found = Groups::open(version)) *groups = std::move(*found);
    return work;
  }

  /* Those that are `freed` had their CPUs confined before: if they are not now, they get all. The first
   * error is returned after all that can be placed is. */
  Result<void> place(const Chosen& chosen, affinity::Fit fit, const Chosen& freed) {
    Result<void> result;
    auto note = [&](const Error& error) {
      if (result && error.code != ESRCH) result = error;
    };
    for (int pass = 0;; pass++) {
      changed_ = false;
      std::uint64_t strayed = load(state_.core().misses[CTN_MISS_STRAYED]);
      CTN_ASSIGN(auto tasks, walk_tasks(state_.pins()));
      std::map<std::uint32_t, Process> processes;
      std::set<std::uint32_t> touched;
      for (const ctn_walk_task& task : tasks) {
        if (has_exited(task)) continue;
        processes[task.tgid].push_back(&task);
        if (chosen(task)) touched.insert(task.tgid);
      }
      for (std::uint32_t pid : touched) {
        const Process& process = processes[pid];
        auto grouped = by_group(process);
        if (grouped && *grouped) continue;
        if (!grouped && !std::all_of(process.begin(), process.end(),
                                     [&](const ctn_walk_task* task) { return of(*task).automatic(); }))
          note(grouped.error());
        for (const ctn_walk_task* task : process) {
          if (!chosen(*task)) continue;
          /* A child born during the first passes may have the mask its forker had before. From then on
           * all inherit what they should, and what one chooses itself inside of the set is left alone. */
          bool fresh = seen_.insert(task->tid).second && pass < kExactPasses;
          if (auto done = by_affinity(*task, fresh ? fit : affinity::Fit::kInside, fresh, freed); !done)
            note(done.error());
        }
      }
      /* A fork that began before this is looked at by t_newtask when it ends. */
      __atomic_fetch_add(&moves_[0], 1, __ATOMIC_SEQ_CST);
      changed_ = changed_ || strayed != load(state_.core().misses[CTN_MISS_STRAYED]);
      if (!changed_ || pass == kMostPasses) return result;
    }
  }

  /* Is it in a group of ours? */
  bool grouped(const ctn_walk_task& task) const {
    auto tid = static_cast<pid_t>(task.tid);
    return (v2_ && v2_->group_of(tid)) || (v1_ && v1_->group_of(tid));
  }

 private:
  static constexpr int kExactPasses = 4;
  static constexpr int kMostPasses = 50; /* for a task that never fits: someone else sets it back */

  Work(const Writer& writer, bool may_move)
      : state_(writer), may_move_(may_move), cpus_online_(kCpus.online()) {}

  Placing of(const ctn_walk_task& task) const { return free_ ? Placing{} : placer_.of(task); }

  /* Puts a process into groups, or takes it out of ours. False: it is left to the affinity driver. */
  Result<bool> by_group(const Process& process) {
    std::uint32_t driver = 0;
    for (const ctn_walk_task* task : process) driver |= of(*task).driver();
    const std::optional<Groups>& groups = (driver & PLACE_CGROUP1) != 0 ? v1_ : v2_;
    auto pid = static_cast<pid_t>(process.front()->tgid);
    if (driver == 0) return take_out(pid);
    if (!groups) return Error{ENOTSUP, "the cpuset controller this hierarchy was made with is not mounted any more"};

    std::vector<std::optional<std::string>> now;
    bool outside = false;
    for (const ctn_walk_task* task : process) {
      now.push_back(groups->group_of(static_cast<pid_t>(task->tid)));
      outside = outside || !now.back();
    }
    if (outside && groups->managed(pid) && !may_move_) return false;
    for (std::size_t i = 0; i < process.size(); i++) {
      const ctn_walk_task& task = *process[i];
      Placing to = of(task);
      std::string group = to.group();
      if (!group.empty()) CTN_TRY(set_up(*groups, to));
      if (now[i] == group) continue;
      changed_ = true;
      if (outside && !group.empty()) {
        CTN_TRY(groups->put_process(group, pid));
        std::fill(now.begin(), now.end(), group);
        outside = false;
      } else if (!outside) {
        CTN_TRY(groups->put_thread(group, static_cast<pid_t>(task.tid)));
      }
    }
    return true;
  }

  /* Writes the sets of a group once. */
  Result<void> set_up(const Groups& groups, const Placing& to) {
    if (!set_up_.insert(to.group()).second) return {};
    return groups.set(to.group(), to.cpus.confined ? to.cpus.set : IndexSet(),
                      to.mems.confined ? to.mems.set & kNodes.online() : IndexSet(), to.mems.migrate);
  }

  /* The kernel gives it all CPUs again; a mask of its own choice is its own again. */
  Result<bool> take_out(pid_t pid) {
    bool any = false;
    for (const std::optional<Groups>* groups : {&v2_, &v1_}) {
      if (!*groups || !(*groups)->group_of(pid)) continue;
      CTN_TRY((*groups)->take_out(pid));
      changed_ = any = true;
    }
    return any;
  }

  Result<void> by_affinity(const ctn_walk_task& task, affinity::Fit fit, bool fresh, const Chosen& freed) {
    Placing to = of(task);
    auto tid = static_cast<pid_t>(task.tid);
    if (to.cpus.confined || (fresh && freed(task))) {
      CTN_ASSIGN(bool done, affinity::confine(tid, to.cpus.confined ? to.cpus.set : kCpus.all(), cpus_online_, fit));
      changed_ = changed_ || done;
    }
    if (to.mems.confined && to.mems.migrate && fresh && task.tid == task.tgid)
      CTN_TRY(affinity::move_pages(tid, to.mems.set));
    return {};
  }

  const State& state_;
  std::span<std::uint32_t> moves_; /* how often a task was moved or placed; see t_newtask */
  bool may_move_;
  bool free_ = false;
  IndexSet cpus_online_;
  Placer placer_;
  std::optional<Groups> v2_;
  std::optional<Groups> v1_;
  std::set<std::string> set_up_;
  std::set<std::uint32_t> seen_;
  bool changed_ = false;
};

bool in_use(const State& state, Slot slot, std::uint32_t hierarchy) {
  const ctn_node& node = state.nodes()[slot];
  return node.state != CTN_FREE && node.hierarchy == hierarchy;
}

/* Stores what is in force for `top` and all below, lingering ones too; which containers' tasks that
 * concerns, by slot. */
std::vector<bool> bring_up_to_date(Writer& writer, WritableSets& sets, Slot top) {
  std::vector<bool> changed(writer.nodes().size());
  std::uint32_t hierarchy = writer.nodes()[top].hierarchy;
  IndexSet online = sets.kind().online();
  IndexSet before = sets.in_force(hierarchy);
  for (Slot slot = CTN_MAX_HIER; slot < writer.core().high_slot; slot++) {
    if (!in_use(writer, slot, hierarchy) || !tree::within(writer, slot, top)) continue;
    IndexSet next = sets.confined(slot) ? sets.computed(slot, online) : everything();
    IndexSet was = sets.in_force(slot);
    if (next == was && (next == everything() || (next & online) == (was & before))) continue;
    changed[slot] = true;
    sets.set_unsettled(slot, true);
    sets.set_in_force(slot, next);
  }
  /* Those that a writer that was killed did not come to. */
  for (Slot slot = CTN_MAX_HIER; slot < writer.core().high_slot; slot++)
    if (in_use(writer, slot, hierarchy) && (sets.flags(slot) & PLACE_UNSETTLED) != 0) changed[slot] = true;
  return changed;
}

/* The tasks of these containers are placed. */
Result<void> settled(Writer& writer, const PlaceKind& kind, const std::vector<bool>& changed) {
  CTN_ASSIGN(WritableSets sets, WritableSets::open(writer, kind));
  for (Slot slot = 0; slot < changed.size(); slot++)
    if (changed[slot]) sets.set_unsettled(slot, false);
  return {};
}

/* Tells the hook which group is ours, and removes what nobody is in. */
Result<void> finish(Writer& writer) {
  if (!uses_groups(writer)) return {};
  prune(writer);
  auto groups = Groups::open(Groups::Version::kV2);
  for (const PlaceKind* kind : kKinds) {
    std::uint32_t hierarchy = hierarchy_of(writer, *kind);
    if (hierarchy == CTN_MAX_HIER) continue;
    CTN_ASSIGN(WritableSets sets, WritableSets::open(writer, *kind));
    sets.set_group(hierarchy, groups ? groups->top_inode() : 0);
  }
  return {};
}

}  // namespace

Result<void> settle(Writer& writer, const PlaceKind& kind, Slot top) {
  CTN_ASSIGN(WritableSets sets, WritableSets::open(writer, kind));
  std::vector<bool> changed = bring_up_to_date(writer, sets, top);
  std::uint32_t hierarchy = writer.nodes()[top].hierarchy;
  bool confined = top >= CTN_MAX_HIER && sets.confined(top);
  bool members = confined && live_tasks(writer.nodes()[top]) != 0;
  for (Slot slot = 0; slot < changed.size() && !members; slot++)
    members = changed[slot] && live_tasks(writer.nodes()[slot]) != 0;
  if (!members) return settled(writer, kind, changed);
  CTN_ASSIGN(Work work, Work::begin(writer, writer.may_move()));
  Chosen concerned = [&](const ctn_walk_task& task) {
    Slot slot = container_of(task, hierarchy);
    return slot < changed.size() && changed[slot];
  };
  /* memory_migrate changes no set, and yet the pair's group. */
  auto chosen = [&](const ctn_walk_task& task) {
    return concerned(task) || (confined && container_of(task, hierarchy) == top);
  };
  CTN_TRY(work.place(chosen, affinity::Fit::kExact, &kind == &kCpus ? concerned : kNobody));
  CTN_TRY(settled(writer, kind, changed));
  return finish(writer);
}

Result<void> arrive(Writer& writer, const PlaceKind& kind, Slot slot, std::span<const Arrival> tasks) {
  CTN_ASSIGN(Sets sets, Sets::open(writer, kind));
  std::set<std::uint32_t> coming;
  bool confined = sets.confined(slot);
  for (const Arrival& one : tasks)
    if (confined || sets.confined(one.from)) coming.insert(static_cast<std::uint32_t>(one.tid));
  if (coming.empty()) return {};
  std::uint32_t hierarchy = writer.nodes()[slot].hierarchy;
  CTN_ASSIGN(Work work, Work::begin(writer, writer.may_move()));
  /* Those that are forked meanwhile are in the container, too. */
  auto born_here = [&](const ctn_walk_task& task) {
    return confined && container_of(task, hierarchy) == slot;
  };
  std::set<std::uint32_t> before;
  CTN_ASSIGN(auto all, walk_tasks(writer.pins()));
  for (const ctn_walk_task& task : all)
    if (born_here(task) && !coming.contains(task.tid)) before.insert(task.tid);
  CTN_TRY(work.place(
      [&](const ctn_walk_task& task) {
        return coming.contains(task.tid) || (born_here(task) && !before.contains(task.tid));
      },
      affinity::Fit::kExact, &kind == &kCpus ? kAnybody : kNobody));
  return finish(writer);
}

namespace {

/* Tasks that came to another container and have not been placed yet: a mover was killed, or they were
 * being forked. */
Result<void> place_noted(Writer& writer) {
  std::map<std::uint32_t, std::vector<const PlaceKind*>> bound;
  for (const PlaceKind* kind : kKinds)
    if (std::uint32_t hierarchy = hierarchy_of(writer, *kind); hierarchy != CTN_MAX_HIER)
      bound[hierarchy].push_back(kind);
  for (const auto& [hierarchy, kinds] : bound) {
    CTN_ASSIGN(Origins noted, noted_moves(writer, hierarchy));
    if (noted.empty()) continue;
    CTN_ASSIGN(auto tasks, walk_tasks(writer.pins()));
    std::map<Slot, std::vector<Arrival>> by_target;
    for (const ctn_walk_task& task : tasks)
      if (auto found = noted.find(task.tid); found != noted.end() && !has_exited(task))
        by_target[container_of(task, hierarchy)].push_back(
            {static_cast<pid_t>(task.tid), found->second});
    for (const auto& [target, its] : by_target)
      for (const PlaceKind* kind : kinds) CTN_TRY(arrive(writer, *kind, target, its));
    forget_moves(writer, hierarchy, noted);
  }
  return {};
}

}  // namespace

Result<void> refresh(Writer& writer, bool interrupted) {
  std::map<const PlaceKind*, std::vector<bool>> changed;
  std::map<const PlaceKind*, IndexSet> online;
  bool all = interrupted;
  for (const PlaceKind* kind : kKinds) {
    std::uint32_t hierarchy = hierarchy_of(writer, *kind);
    if (hierarchy == CTN_MAX_HIER) continue;
    CTN_ASSIGN(WritableSets sets, WritableSets::open(writer, *kind));
    std::uint64_t strayed = load(writer.core().misses[CTN_MISS_STRAYED]);
    all = all || static_cast<std::uint32_t>(strayed) != sets.strayed(hierarchy);
    sets.set_strayed(hierarchy, static_cast<std::uint32_t>(strayed));
    online[kind] = sets.kind().online();
    if (!all && online[kind] == sets.in_force(hierarchy)) continue;
    changed[kind] = bring_up_to_date(writer, sets, hierarchy);
  }
  if (changed.empty()) return {};
  CTN_ASSIGN(Work work, Work::begin(writer, false));
  auto concerns = [&](const ctn_walk_task& task, const PlaceKind& kind) {
    auto found = changed.find(&kind);
    if (found == changed.end()) return false;
    Slot slot = container_of(task, hierarchy_of(writer, kind));
    return slot < found->second.size() && found->second[slot];
  };
  auto chosen = [&](const ctn_walk_task& task) { return concerns(task, kCpus) || concerns(task, kNodes); };
  CTN_TRY(work.place(chosen, affinity::Fit::kExact,
                     [&](const ctn_walk_task& task) { return concerns(task, kCpus); }));
  for (const auto& [kind, its] : changed) {
    CTN_TRY(settled(writer, *kind, its));
    /* Last: until 6.10 the kernel's own cpusets learn some time later of a CPU that is back, and no
     * task can be put there before. Whoever comes next tries again. */
    CTN_ASSIGN(WritableSets sets, WritableSets::open(writer, *kind));
    sets.set_in_force(hierarchy_of(writer, *kind), online[kind]);
  }
  if (all) {
    /* Whoever is in a group of ours without being a member goes out. */
    bool groups = uses_groups(writer);
    CTN_ASSIGN(Placer placer, Placer::open(writer));
    CTN_TRY(work.place(
        [&](const ctn_walk_task& task) { return placer.of(task).confined() || (groups && work.grouped(task)); },
        affinity::Fit::kInside, kNobody));
    CTN_TRY(place_noted(writer));
  }
  return finish(writer);
}

Result<void> release(Writer& writer) {
  CTN_ASSIGN(Placer placer, Placer::open(writer));
  CTN_ASSIGN(Work work, Work::begin(writer, false, true));
  /* From here on no hook keeps them in. */
  for (const PlaceKind* kind : kKinds) {
    std::uint32_t hierarchy = hierarchy_of(writer, *kind);
    if (hierarchy == CTN_MAX_HIER) continue;
    CTN_ASSIGN(WritableSets sets, WritableSets::open(writer, *kind));
    for (Slot slot = CTN_MAX_HIER; slot < writer.core().high_slot; slot++)
      if (in_use(writer, slot, hierarchy)) sets.set_in_force(slot, everything());
  }
  auto done = work.place([&](const ctn_walk_task& task) { return placer.of(task).confined(); },
                         affinity::Fit::kExact,
                         [&](const ctn_walk_task& task) { return placer.of(task).cpus.confined; });
  prune(writer);
  return done;
}

}  // namespace ctnbpf::placement
