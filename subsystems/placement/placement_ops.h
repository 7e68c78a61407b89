/* What cpuset and memset do alike: attributes and operations over the sets of one kind. The tables of
 * subsystems take plain functions, so the kind is a template argument; the work is in place.cpp. */
#pragma once

#include "ctnbpf/subsystem.h"
#include "ctnbpf/attributes.h"
#include "kernel/hooks.h"
#include "placement/place.h"

namespace ctnbpf {

/* 0 or 1, a trailing newline accepted; EINVAL. */
Result<bool> parse_flag(const std::string& attribute, const std::string& text);

namespace placement {

/* Sizes the arrays of the subsystem `name`. */
Result<void> load_arrays(Loading& loading, const std::string& name);

Result<Value> read_list(const State& state, const PlaceKind& kind, Slot slot);
Result<Value> read_effective(const State& state, const PlaceKind& kind, Slot slot);
Result<Value> read_flag(const State& state, const PlaceKind& kind, Slot slot, place_flag flag);
Result<Value> read_placement(const State& state, const PlaceKind& kind, Slot slot);
Result<Value> read_driver(const State& state, const PlaceKind& kind, Slot slot);
Result<Change> prepare_list(Writer& writer, const PlaceKind& kind, Slot slot,
                            const std::string& text);
Result<Change> prepare_exclusive(Writer& writer, const PlaceKind& kind, Slot slot,
                                 const std::string& text);
Result<Change> prepare_migrate(Writer& writer, Slot slot, const std::string& text);
Result<Change> prepare_strict(Writer& writer, const PlaceKind& kind, Slot slot,
                              const std::string& text);
Result<Change> prepare_placement(Writer& writer, const PlaceKind& kind, Slot slot,
                                 const std::string& text);

Result<NormalForm> normal_list(const PlaceKind& kind, const std::string& text);
Result<NormalForm> normal_placement(const PlaceKind& kind, const std::string& text);

Result<void> bind(Writer& writer, const PlaceKind& kind, Slot root);
Result<void> create(Writer& writer, const PlaceKind& kind, Slot slot);
void removed(Writer& writer, const PlaceKind& kind, Slot slot);
Result<void> admit(const Writer& writer, const PlaceKind& kind, Slot slot,
                   const std::function<bool(const ctn_walk_task&)>& belongs);
Result<std::string> note(const State& state, const PlaceKind& kind, Slot slot);
std::vector<std::string> ways(const State* state, const PlaceKind& kind);

}  // namespace placement

template <const PlaceKind& kKind>
class PlacementOps {
 public:
  static constexpr Attribute list(const char* help, const char* run_option) {
    return {.name = kKind.list,
            .help = help,
            .read = read_list,
            .prepare = prepare_list,
            .run_option = run_option,
            .on = On::kContainer,
            .normal = normal_list};
  }
  static constexpr Attribute exclusive(const char* help) {
    return {.name = kKind.exclusive,
            .help = help,
            .read = read_flag<PLACE_EXCLUSIVE>,
            .prepare = prepare_exclusive,
            .on = On::kContainer,
            .initial = "0",
            .normal = normal_flag<&PlaceKind::exclusive>};
  }
  static constexpr Attribute effective(const char* help) {
    return {.name = kKind.effective, .help = help, .read = read_effective};
  }
  static constexpr Attribute how() {
    return {.name = "placement",
            .help = "of a root without containers: auto, cgroup or affinity",
            .read = read_placement,
            .prepare = prepare_placement,
            .hierarchy_option = "--placement",
            .on = On::kRoot,
            .initial = "auto",
            .normal = normal_placement};
  }
  static constexpr Attribute driver(const char* help) {
    return {.name = "driver", .help = help, .read = read_driver};
  }
  static constexpr Attribute strict() {
    return {.name = "strict",
            .help = "of a root; 1: no task may come to a container whose list is empty",
            .read = read_strict,
            .prepare = prepare_strict,
            .hierarchy_option = "--strict-cpusets",
            .flag = true,
            .on = On::kRoot,
            .initial = "0",
            .normal = [](const std::string& text) {
              return ctnbpf::normal_flag(std::string(kKind.name) + ".strict", text);
            }};
  }

  /* Everything but what only one of the two has. */
  static constexpr Subsystem subsystem(const char* help, std::span<const Attribute> attributes) {
    return {.id = kKind.id,
            .name = kKind.name,
            .help = help,
            .attributes = attributes,
            .hooks = 0,
            .level_from = CTN_HOOKS_TASK,
            .minimum = CTN_LEVEL_ACCOUNTING,
            .load = size_arrays,
            .bind = bind,
            .create = create,
            .removed = removed,
            .check = check,
            .repair = repair,
            .unbind = unbind,
            .attach = attach,
            .admit = admit,
            .settle = settle,
            .refresh = refresh,
            .release = release,
            .leftovers = leftovers,
            .note = note,
            .ways = ways};
  }

  template <place_flag kFlag>
  static Result<Value> read_flag(const State& s, Slot slot) {
    return placement::read_flag(s, kKind, slot, kFlag);
  }

 private:
  static Result<NormalForm> normal_list(const std::string& text) {
    return placement::normal_list(kKind, text);
  }
  static Result<NormalForm> normal_placement(const std::string& text) {
    return placement::normal_placement(kKind, text);
  }
  template <const char* PlaceKind::*kName>
  static Result<NormalForm> normal_flag(const std::string& text) {
    return ctnbpf::normal_flag(std::string(kKind.name) + "." + kKind.*kName, text);
  }

  static Result<Value> read_list(const State& s, Slot slot) {
    return placement::read_list(s, kKind, slot);
  }
  static Result<Value> read_effective(const State& s, Slot slot) {
    return placement::read_effective(s, kKind, slot);
  }
  static Result<Value> read_strict(const State& s, Slot slot) {
    return placement::read_flag(s, kKind, s.nodes()[slot].hierarchy, PLACE_STRICT);
  }
  static Result<Value> read_placement(const State& s, Slot slot) {
    return placement::read_placement(s, kKind, slot);
  }
  static Result<Value> read_driver(const State& s, Slot slot) {
    return placement::read_driver(s, kKind, slot);
  }
  static Result<Change> prepare_list(Writer& w, Slot slot, const std::string& text) {
    return placement::prepare_list(w, kKind, slot, text);
  }
  static Result<Change> prepare_exclusive(Writer& w, Slot slot, const std::string& text) {
    return placement::prepare_exclusive(w, kKind, slot, text);
  }
  static Result<Change> prepare_strict(Writer& w, Slot slot, const std::string& text) {
    return placement::prepare_strict(w, kKind, slot, text);
  }
  static Result<Change> prepare_placement(Writer& w, Slot slot, const std::string& text) {
    return placement::prepare_placement(w, kKind, slot, text);
  }

  static Result<void> size_arrays(Loading& loading) {
    return placement::load_arrays(loading, kKind.name);
  }
  static Result<void> bind(Writer& w, Slot root) { return placement::bind(w, kKind, root); }
  static Result<void> create(Writer& w, Slot slot) { return placement::create(w, kKind, slot); }
  static void removed(Writer& w, Slot slot) { placement::removed(w, kKind, slot); }
  static void unbind(Writer& w, Slot) { (void)placement::leftovers(w, true); }
  static Result<void> settle(Writer& w, Slot slot) { return placement::settle(w, kKind, slot); }
  static Result<void> attach(Writer& w, Slot slot, std::span<const Arrival> tasks) {
    return placement::arrive(w, kKind, slot, tasks);
  }
  static Result<void> admit(const Writer& w, Slot slot,
                            const std::function<bool(const ctn_walk_task&)>& belongs) {
    return placement::admit(w, kKind, slot, belongs);
  }
  static Result<std::string> note(const State& s, Slot slot) {
    return placement::note(s, kKind, slot);
  }
  static std::vector<std::string> ways(const State* s) { return placement::ways(s, kKind); }

  /* Of both subsystems at once, so only one does it: cpuset, or memset where that is not bound. */
  static bool speaks(const State& s) {
    return &kKind == &kCpus || load(s.core().bound[kCpus.id]) == 0;
  }
  static Result<std::vector<std::string>> check(const State& s, std::span<const std::uint64_t>) {
    return speaks(s) ? placement::check(s) : std::vector<std::string>();
  }
  static Result<std::vector<std::string>> repair(Writer& w) {
    return speaks(w) ? placement::repair(w) : std::vector<std::string>();
  }
  static Result<void> refresh(Writer& w, bool interrupted) {
    return speaks(w) ? placement::refresh(w, interrupted) : Result<void>();
  }
  static Result<std::vector<std::string>> leftovers(const State& s, bool remove) {
    return &kKind == &kCpus ? placement::leftovers(s, remove) : std::vector<std::string>();
  }
  static Result<void> release(Writer& w) {
    return speaks(w) ? placement::release(w) : Result<void>();
  }
};

namespace hooks {
extern const HookTable kPlacementHooks;
}

}  // namespace ctnbpf
