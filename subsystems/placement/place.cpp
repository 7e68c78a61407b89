#include "placement/place.h"

#include <map>
#include <set>

#include "ctnbpf/membership.h"
#include "ctnbpf/tree.h"
#include "ctnbpf/namespaces.h"
#include "placement/work.h"
#include "tasks/moves.h"

namespace ctnbpf::placement {

IndexSet everything() {
  return IndexSet(std::vector<std::uint64_t>(place_words(), ~std::uint64_t{0}));
}

namespace {

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
    if (in_use(writer, slot, hierarchy) && (sets.flags(slot) & PLACE_UNSETTLED) != 0)
      changed[slot] = true;
  return changed;
}

/* The tasks of these containers are placed. */
Result<void> settled(Writer& writer, const PlaceKind& kind, const std::vector<bool>& changed) {
  CTN_ASSIGN(WritableSets sets, WritableSets::open(writer, kind));
  for (Slot slot = 0; slot < changed.size(); slot++)
    if (changed[slot]) {
      sets.set_placed(slot, sets.in_force(slot));
      sets.set_unsettled(slot, false);
    }
  return {};
}

Result<void> finish(Writer& writer) {
  if (!uses_groups(writer)) return {};
  prune(writer);
  return tell_hook_of_groups(writer);
}

}  // namespace

Result<void> tell_hook_of_groups(Writer& writer) {
  auto groups = Groups::open(Groups::Version::kV2, writer);
  std::uint64_t top = groups ? groups->top_inode() : 0;
  for (const PlaceKind* kind : kKinds) {
    std::uint32_t hierarchy = hierarchy_of(writer, *kind);
    if (hierarchy == CTN_MAX_HIER) continue;
    CTN_ASSIGN(WritableSets sets, WritableSets::open(writer, *kind));
    if (sets.group(hierarchy) != top) sets.set_group(hierarchy, top);
  }
  return {};
}

/* Refused: sets in force are what tasks were placed by, and masks as they were. The containers stay marked, so
 * that the call that follows when the list is the old one again looks at all of them. */
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
  Work::Chosen concerned = [&](const ctn_walk_task& task) {
    Slot slot = container_of(task, hierarchy);
    return slot < changed.size() && changed[slot];
  };
  /* memory_migrate changes no set, and yet the pair's group. */
  auto chosen = [&](const ctn_walk_task& task) {
    return concerned(task) || (confined && container_of(task, hierarchy) == top);
  };
  auto placed = work.place(chosen, Fit::kKeep, OnError::kStop);
  if (!placed) {
    for (Slot slot = 0; slot < changed.size(); slot++)
      if (changed[slot]) sets.set_in_force(slot, sets.placed(slot));
    work.put_back();
  }
  CTN_TRY(finish(writer));
  if (placed) CTN_TRY(settled(writer, kind, changed));
  return placed;
}

Result<void> arrive(Writer& writer, const PlaceKind& kind, Slot slot,
                    std::span<const Arrival> tasks) {
  CTN_ASSIGN(Sets sets, Sets::open(writer, kind));
  std::set<std::uint32_t> coming;
  bool confined = sets.confined(slot);
  bool back = false;
  for (const Arrival& one : tasks) {
    back = back || one.back;
    if (confined || sets.confined(one.from)) coming.insert(static_cast<std::uint32_t>(one.tid));
  }
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
  Result<void> placed = work.place(
      [&](const ctn_walk_task& task) {
        return coming.contains(task.tid) || (born_here(task) && !before.contains(task.tid));
      },
      back ? Fit::kKeep : Fit::kWhole, back ? OnError::kGoOn : OnError::kStop);
  CTN_TRY(finish(writer));
  return placed;
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
    CTN_ASSIGN(Noted noted, noted_moves(writer, hierarchy));
    if (noted.empty()) continue;
    CTN_ASSIGN(auto tasks, walk_tasks(writer.pins()));
    std::map<Slot, std::vector<Arrival>> by_target;
    for (const ctn_walk_task& task : tasks)
      if (auto found = noted.find(task.global_tid); found != noted.end() && !has_exited(task))
        by_target[container_of(task, hierarchy)].push_back(
            {static_cast<pid_t>(task.tid), found->second});
    for (const auto& [target, its] : by_target)
      for (const PlaceKind* kind : kinds) CTN_TRY(arrive(writer, *kind, target, its));
    forget_moves(writer, hierarchy, noted);
  }
  return {};
}

}  // namespace

namespace {

struct Changed {
  IndexSet online;         /* what was, when that was looked at */
  std::vector<bool> slots; /* whose set in force was changed */
};
using ByKind = std::map<const PlaceKind*, Changed>;

/* Places the tasks of containers whose set in force was changed. */
Result<void> place_changed(Writer& writer, Work& work, const ByKind& changed) {
  auto concerns = [&](const ctn_walk_task& task, const PlaceKind& kind) {
    auto found = changed.find(&kind);
    if (found == changed.end()) return false;
    Slot slot = container_of(task, hierarchy_of(writer, kind));
    return slot < found->second.slots.size() && found->second.slots[slot];
  };
  auto chosen = [&](const ctn_walk_task& task) {
    return concerns(task, kCpus) || concerns(task, kNodes);
  };
  CTN_TRY(work.place(chosen, Fit::kKeep));
  for (const auto& [kind, its] : changed) {
    CTN_TRY(settled(writer, *kind, its.slots));
    /* Last: until 6.10 the kernel's own cpusets learn some time later of a CPU that is back, and no
     * task can be put there before. Whoever comes next tries again. */
    CTN_ASSIGN(WritableSets sets, WritableSets::open(writer, *kind));
    sets.set_in_force(hierarchy_of(writer, *kind), its.online);
  }
  return {};
}

/* Looks at every member, and at whoever is in a group of ours without being one, who goes out. */
Result<void> place_all(Writer& writer, Work& work) {
  bool groups = uses_groups(writer);
  CTN_ASSIGN(Placer placer, Placer::open(writer));
  return work.place(
      [&](const ctn_walk_task& task) {
        return placer.of(task).confined() || (groups && work.grouped(task));
      },
      Fit::kKeep);
}

/* If something is to be done, everybody it may concern has to be seen from here; if not, it is left to the next
 * writer, as if a task had strayed. */
Result<void> look_for_unseen(Writer& writer, bool interrupted) {
  bool all = interrupted;
  bool any = interrupted;
  std::uint64_t strayed = load(writer.core().misses[CTN_MISS_STRAYED]);
  for (const PlaceKind* kind : kKinds) {
    std::uint32_t hierarchy = hierarchy_of(writer, *kind);
    if (hierarchy == CTN_MAX_HIER) continue;
    CTN_ASSIGN(Sets sets, Sets::open(writer, *kind));
    all = all || static_cast<std::uint32_t>(strayed) != sets.strayed(hierarchy);
    any = any || all || kind->online() != sets.in_force(hierarchy);
  }
  if (!any) return {};
  auto seen = refuse_unseen(writer);
  if (seen || !all) return seen;
  for (const PlaceKind* kind : kKinds) {
    std::uint32_t hierarchy = hierarchy_of(writer, *kind);
    if (hierarchy == CTN_MAX_HIER) continue;
    CTN_ASSIGN(WritableSets sets, WritableSets::open(writer, *kind));
    sets.set_strayed(hierarchy, static_cast<std::uint32_t>(strayed) - 1);
  }
  return seen;
}

}  // namespace

Result<void> refresh(Writer& writer, bool interrupted) {
  ByKind changed;
  bool all = interrupted;
  if (auto seen = look_for_unseen(writer, interrupted); !seen) return seen;
  bool groups = uses_groups(writer, Groups::Version::kV1); /* may there be any? */
  for (const PlaceKind* kind : kKinds) {
    std::uint32_t hierarchy = hierarchy_of(writer, *kind);
    if (hierarchy == CTN_MAX_HIER) continue;
    CTN_ASSIGN(WritableSets sets, WritableSets::open(writer, *kind));
    std::uint64_t strayed = load(writer.core().misses[CTN_MISS_STRAYED]);
    all = all || static_cast<std::uint32_t>(strayed) != sets.strayed(hierarchy);
    sets.set_strayed(hierarchy, static_cast<std::uint32_t>(strayed));
    groups = groups || sets.group(hierarchy) != 0;
    IndexSet online = kind->online();
    if (all || online != sets.in_force(hierarchy))
      changed[kind] = {online, bring_up_to_date(writer, sets, hierarchy)};
  }
  if (changed.empty()) return groups ? finish(writer) : Result<void>();
  CTN_ASSIGN(Work work, Work::begin(writer, false));
  Result<void> result = place_changed(writer, work, changed);
  auto also = [&](const Result<void>& done) {
    if (result) result = done;
  };
  if (all) {
    also(place_all(writer, work));
    also(place_noted(writer));
    /* As if one had strayed: the next writer looks at all of them again. */
    for (const auto& [kind, its] : changed) {
      if (result) break;
      CTN_ASSIGN(WritableSets sets, WritableSets::open(writer, *kind));
      std::uint32_t hierarchy = hierarchy_of(writer, *kind);
      sets.set_strayed(hierarchy, sets.strayed(hierarchy) - 1);
    }
  }
  also(finish(writer));
  return result;
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
  auto done =
      work.place([&](const ctn_walk_task& task) { return placer.of(task).confined(); }, Fit::kKeep);
  clear_away(writer);
  return done;
}

}  // namespace ctnbpf::placement
