#include "placement/placement_ops.h"

#include <fmt/format.h>

#include <algorithm>

#include "ctnbpf/membership.h"
#include "ctnbpf/tree.h"
#include "ctnbpf/namespaces.h"
#include "kernel/loading.h"
#include "placement/effective.h"

namespace ctnbpf {

Result<bool> parse_flag(const std::string& attribute, const std::string& text) {
  if (text == "0" || text == "1" || text == "0\n" || text == "1\n") return text[0] == '1';
  return Error{EINVAL, fmt::format("{} cannot be '{}': use 0 or 1", attribute,
                                   printable(text.substr(0, 80)))};
}

namespace placement {

Result<void> load_arrays(Loading& loading, const std::string& name) {
  CTN_TRY(loading.size(name + "_states", loading.facts.slots));
  CTN_TRY(loading.size(name + "_sets", loading.facts.slots * PLACE_SETS * place_words()));
  return loading.set("place_words", place_words());
}

namespace {

constexpr std::uint32_t kDriverBits = PLACE_AUTO | PLACE_CGROUP2 | PLACE_CGROUP1;

std::string full(const PlaceKind& kind, const char* attribute) {
  return fmt::format("{}.{}", kind.name, attribute);
}

Error of_root(const State& state, const PlaceKind& kind, const char* attribute, Slot slot) {
  return {EPERM, fmt::format("{} is a root and has all there is: set {} on a container below",
                             tree::address_of(state, slot), full(kind, attribute))};
}

Result<void> require_root(const State& state, const PlaceKind& kind, const char* attribute,
                          Slot slot) {
  if (slot < CTN_MAX_HIER) return {};
  return Error{EPERM,
               fmt::format("{} belongs to the hierarchy: set it on {}:/", full(kind, attribute),
                           tree::hierarchy_name(state, state.nodes()[slot].hierarchy))};
}

std::string driver_name(std::uint32_t flags) {
  if ((flags & PLACE_CGROUP2) != 0) return "cgroup2";
  return (flags & PLACE_CGROUP1) != 0 ? "cgroup1" : "affinity";
}

std::uint32_t driver_for(const std::string& wanted) {
  bool v2 = Groups::available(Groups::Version::kV2);
  if (wanted == "auto") return v2 ? PLACE_AUTO | PLACE_CGROUP2 : PLACE_AUTO;
  if (wanted == "affinity") return 0;
  return v2 ? PLACE_CGROUP2 : PLACE_CGROUP1;
}

}  // namespace

Result<Value> read_list(const State& state, const PlaceKind& kind, Slot slot) {
  CTN_ASSIGN(Sets sets, Sets::open(state, kind));
  return Value{sets.own(slot).to_string()};
}

Result<Value> read_effective(const State& state, const PlaceKind& kind, Slot slot) {
  CTN_ASSIGN(IndexSet now, effective(state, kind, slot));
  return Value{now.to_string()};
}

Result<Value> read_flag(const State& state, const PlaceKind& kind, Slot slot, place_flag flag) {
  if (slot < CTN_MAX_HIER && flag == PLACE_EXCLUSIVE) return Value{std::uint64_t{1}};
  CTN_ASSIGN(Sets sets, Sets::open(state, kind));
  return Value{std::uint64_t{(sets.flags(slot) & flag) != 0}};
}

Result<Value> read_placement(const State& state, const PlaceKind& kind, Slot slot) {
  CTN_ASSIGN(Sets sets, Sets::open(state, kind));
  std::uint32_t flags = sets.flags(state.nodes()[slot].hierarchy);
  if ((flags & PLACE_AUTO) != 0) return Value{std::string("auto")};
  return Value{std::string((flags & kDriverBits) != 0 ? "cgroup" : "affinity")};
}

Result<Value> read_driver(const State& state, const PlaceKind& kind, Slot slot) {
  CTN_ASSIGN(Sets sets, Sets::open(state, kind));
  return Value{driver_name(sets.flags(state.nodes()[slot].hierarchy))};
}

Result<Change> prepare_list(Writer& writer, const PlaceKind& kind, Slot slot,
                            const std::string& text) {
  IndexSet online = kind.online();
  CTN_ASSIGN(IndexSet wanted, parse_index_set(full(kind, kind.list), text, kind.limit, &online));
  if (slot < CTN_MAX_HIER) return of_root(writer, kind, kind.list, slot);
  CTN_ASSIGN(WritableSets sets, WritableSets::open(writer, kind));
  CTN_TRY(check_set(sets.tree(), slot, wanted, kind.online()));
  CTN_TRY(refuse_unseen(writer, slot, true)); /* they could not be placed */
  const ctn_node& node = writer.nodes()[slot];
  /* By affinity a task in the very group that has them can use them: the kernel says at each. */
  if ((sets.flags(node.hierarchy) & kGroupDrivers) != 0)
    CTN_TRY(check_granted(writer, kind, wanted));
  if (std::uint32_t live = live_tasks(node);
      wanted.empty() && live != 0 && (sets.flags(node.hierarchy) & PLACE_STRICT) != 0)
    return Error{ENOSPC,
                 fmt::format("{} cannot be empty: {} task{} in {}, and the hierarchy is strict",
                             full(kind, kind.list), live, live == 1 ? " is" : "s are",
                             printable(tree::address_of(writer, slot)))};
  return sets.prepare_own(slot, wanted);
}

Result<Change> prepare_exclusive(Writer& writer, const PlaceKind& kind, Slot slot,
                                 const std::string& text) {
  CTN_ASSIGN(bool wanted, parse_flag(full(kind, kind.exclusive), text));
  if (slot < CTN_MAX_HIER) return of_root(writer, kind, kind.exclusive, slot);
  CTN_ASSIGN(WritableSets sets, WritableSets::open(writer, kind));
  CTN_TRY(check_exclusive(sets.tree(), slot, wanted));
  return sets.prepare_flag(slot, PLACE_EXCLUSIVE, wanted);
}

Result<Change> prepare_migrate(Writer& writer, Slot slot, const std::string& text) {
  CTN_ASSIGN(bool wanted, parse_flag(full(kNodes, "memory_migrate"), text));
  if (slot < CTN_MAX_HIER) return of_root(writer, kNodes, "memory_migrate", slot);
  CTN_ASSIGN(WritableSets sets, WritableSets::open(writer, kNodes));
  CTN_TRY(refuse_unseen(writer, slot, true));
  return sets.prepare_flag(slot, PLACE_MIGRATE, wanted);
}

Result<Change> prepare_strict(Writer& writer, const PlaceKind& kind, Slot slot,
                              const std::string& text) {
  CTN_ASSIGN(bool wanted, parse_flag(full(kind, "strict"), text));
  CTN_TRY(require_root(writer, kind, "strict", slot));
  CTN_ASSIGN(WritableSets sets, WritableSets::open(writer, kind));
  return sets.prepare_flag(slot, PLACE_STRICT, wanted);
}

Result<NormalForm> normal_list(const PlaceKind& kind, const std::string& text) {
  IndexSet online = kind.online();
  CTN_ASSIGN(IndexSet set, parse_index_set(full(kind, kind.list), text, kind.limit, &online));
  return NormalForm{{kind.list, set.to_string()}};
}

Result<NormalForm> normal_placement(const PlaceKind& kind, const std::string& text) {
  std::string wanted = text.substr(0, text.size() - (text.ends_with('\n') ? 1 : 0));
  if (wanted != "auto" && wanted != "cgroup" && wanted != "affinity")
    return Error{EINVAL, fmt::format("{} cannot be '{}': use auto, cgroup or affinity",
                                     full(kind, "placement"), printable(wanted.substr(0, 80)))};
  return NormalForm{{"placement", wanted}};
}

Result<Change> prepare_placement(Writer& writer, const PlaceKind& kind, Slot slot,
                                 const std::string& text) {
  CTN_ASSIGN(NormalForm normal, normal_placement(kind, text));
  const std::string& wanted = normal[0].second;
  CTN_TRY(require_root(writer, kind, "placement", slot));
  if (writer.nodes()[slot].dependants != 0)
    return Error{EBUSY, fmt::format("{} has containers: {} can be chosen before there are any",
                                    tree::address_of(writer, slot), full(kind, "placement"))};
  if (wanted == "cgroup" && !Groups::available(Groups::Version::kV2) &&
      !Groups::available(Groups::Version::kV1))
    return Error{
        ENOTSUP,
        "no cpuset controller of cgroup v2 or v1 can be used here: mount one, or use affinity"};
  CTN_ASSIGN(WritableSets sets, WritableSets::open(writer, kind));
  return sets.prepare_flags(slot, (sets.flags(slot) & ~kDriverBits) | driver_for(wanted));
}

Result<void> bind(Writer& writer, const PlaceKind& kind, Slot root) {
  CTN_ASSIGN(WritableSets sets, WritableSets::open(writer, kind));
  sets.reset(root, driver_for("auto"));
  sets.set_in_force(root, kind.online());
  sets.set_strayed(root, static_cast<std::uint32_t>(load(writer.core().misses[CTN_MISS_STRAYED])));
  return {};
}

Result<void> create(Writer& writer, const PlaceKind& kind, Slot slot) {
  CTN_ASSIGN(WritableSets sets, WritableSets::open(writer, kind));
  sets.reset(slot, 0);
  Slot parent = writer.nodes()[slot].parent;
  IndexSet its = parent < CTN_MAX_HIER ? everything() : sets.in_force(parent);
  sets.set_in_force(slot, its);
  sets.set_placed(slot, its);
  return {};
}

void removed(Writer& writer, const PlaceKind& kind, Slot slot) {
  if (auto sets = Sets::open(writer, kind); sets && sets->confined(slot)) prune(writer);
}

Result<void> admit(const Writer& writer, const PlaceKind& kind, Slot slot,
                   const std::function<bool(const ctn_walk_task&)>& belongs) {
  if (slot < CTN_MAX_HIER) return {};
  CTN_ASSIGN(Sets sets, Sets::open(writer, kind));
  std::string target = printable(tree::address_of(writer, slot));
  std::uint32_t flags = sets.flags(writer.nodes()[slot].hierarchy);
  if ((flags & PLACE_STRICT) != 0 && sets.own(slot).empty())
    return Error{
        ENOSPC, fmt::format("{} has no {} yet, and its hierarchy is strict: set them first", target,
                            full(kind, kind.list))};
  if (!sets.confined(slot)) return {};
  /* Then those that are kept where they are are placed by affinity. */
  bool free = (flags & kGroupDrivers) == 0 || (flags & PLACE_AUTO) != 0 || writer.may_move();
  auto groups = Groups::open(
      (flags & PLACE_CGROUP1) != 0 ? Groups::Version::kV1 : Groups::Version::kV2, writer);
  CTN_ASSIGN(auto tasks, walk_tasks(writer.pins()));
  for (const ctn_walk_task& task : tasks) {
    if (has_exited(task) || !belongs(task)) continue;
    if ((task.kernel_thread & CTN_KTHREAD_BOUND) != 0)
      return Error{
          EINVAL,
          fmt::format(
              "task {} is a kernel thread whose CPUs only the kernel chooses: it cannot come "
              "to {}, which has {}",
              task.tid, target, full(kind, kind.list))};
    auto tid = static_cast<pid_t>(task.tid);
    if (free || !groups || groups->group_of(tid)) continue;
    if (std::string kept = groups->kept_by(tid); !kept.empty())
      return Error{EPERM,
                   fmt::format("process {} would be taken out of its control group, and {}: --move "
                               "does that, a hierarchy with --placement auto or affinity leaves it "
                               "there",
                               task.tgid, kept)};
  }
  return {};
}

Result<std::string> note(const State& state, const PlaceKind& kind, Slot slot) {
  CTN_ASSIGN(Sets sets, Sets::open(state, kind));
  if (slot < CTN_MAX_HIER) {
    auto all = tree::subtree(state, slot, tree::Order::kAny);
    bool any =
        std::any_of(all.begin() + 1, all.end(), [&](Slot one) { return !sets.own(one).empty(); });
    return any ? "placed by " + driver_name(sets.flags(slot)) : std::string();
  }
  if (sets.own(slot).empty()) return std::string();
  CTN_ASSIGN(IndexSet now, effective(state, kind, slot));
  std::string own = sets.own(slot).to_string();
  return fmt::format(
      "{} {}", kind.list,
      own == now.to_string() ? own : fmt::format("{} (now {})", own, now.to_string()));
}

std::vector<std::string> ways(const State* state, const PlaceKind& kind) {
  std::uint32_t flags = driver_for("auto");
  if (state != nullptr && load(state->core().bound[kind.id]) != 0)
    if (auto sets = Sets::open(*state, kind))
      flags = sets->flags(load(state->core().bound[kind.id]) - 1U);
  bool memory = &kind == &kNodes;
  if ((flags & PLACE_CGROUP2) != 0) {
    std::vector<std::string> out{"by groups of the kernel's cgroup v2 cpuset controller"};
    if (memory) out.emplace_back("pages always move with the set, whatever memory_migrate is");
    out.emplace_back(
        (flags & PLACE_AUTO) != 0
            ? "tasks in groups that a service manager made, or that limit something, are left there and "
              "placed by affinity, unless --move"
            : "tasks in groups that a service manager made, or that limit something, are refused, "
              "unless --move");
    return out;
  }
  if ((flags & PLACE_CGROUP1) != 0)
    return {
        "by groups of the kernel's cgroup v1 cpuset controller",
        "a CPU that comes back online is used again after the next command, or at once with agentd"};
  if (memory)
    return {
        "by memory policy, given to commands of `run` before they start",
        "a task that is attached keeps its policy: only its pages move, with memory_migrate=1",
        "a member can choose other nodes (set_mempolicy, mbind): nothing refuses that, or tells of it"};
  return {
      "by the CPU mask of each task",
      "a mask that is partly outside is refused with EINVAL, not cut down; io_uring can place its own workers "
      "outside",
      "a CPU that comes back online is used again after the next command, or at once with agentd"};
}

}  // namespace placement
}  // namespace ctnbpf
