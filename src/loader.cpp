#include "loader.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <fmt/format.h>
#include <linux/magic.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <bit>
#include <filesystem>
#include <memory>

#include "bpf_log.h"
#include "ctnbpf/state.h"
#include "ctnbpf/subsystem.h"
#include "ctnbpf/tree.h"
#include "cpuset/cpuset.h"
#include "hooks.h"
#include "instances.h"
#include "lock.h"
#include "pinning.h"
#include "placement/kind.h"
#include "placement/placement.h"
#include "map_size.h"
#include "namespaces.h"

#include "ctnbpf.skel.h"

namespace ctnbpf {
namespace {

namespace fs = std::filesystem;

struct Destroy {
  void operator()(ctnbpf_bpf* skeleton) const { ctnbpf_bpf::destroy(skeleton); }
};
using Skeleton = std::unique_ptr<ctnbpf_bpf, Destroy>;

/* Among the pins, so that nothing of another instance's is there: what is being built, and what is being
 * removed. (bpffs allows no dots.) */
constexpr const char* kBeingBuilt = "being-built";
constexpr const char* kBeingRemoved = "being-removed";
std::string being_built(const Pins& pins) { return pins.root() + "/" + kBeingBuilt; }
std::string being_removed(const Pins& pins) { return pins.root() + "/" + kBeingRemoved; }
/* The last is what there is or is not: Pins::exist(). */
constexpr std::array kParts = {"links", "progs", "maps"};

bool is_there(const std::string& path) {
  std::error_code error;
  return fs::exists(fs::symlink_status(path, error));
}

/* Unlinks links first, so that nothing runs any more when the maps go. */
Result<void> remove_pins(const std::string& root) {
  std::error_code error;
  for (const char* part : {"/links", "/progs", "/maps", ""}) fs::remove_all(root + part, error);
  if (error) return Error{error.value(), fmt::format("remove '{}': {}", root, error.message())};
  return {};
}

Result<void> make_directory(const std::string& path) {
  if (::mkdir(path.c_str(), 0700) != 0) return system_error(fmt::format("make '{}'", path));
  return {};
}

Result<void> move_pins(const std::string& from, const std::string& to) {
  if (::rename(from.c_str(), to.c_str()) != 0)
    return system_error(fmt::format("move '{}' to '{}'", from, to));
  return {};
}

Result<void> require_bpffs(const std::string& parent) {
  struct statfs st = {};
  if (::statfs(parent.c_str(), &st) != 0)
    return system_error(fmt::format("look at '{}', which is to hold the pins", parent));
  if (st.f_type == BPF_FS_MAGIC) return {};
  if (parent != "/sys/fs/bpf")
    return Error{EINVAL,
                 fmt::format("'{0}' is not on a BPF file system: mount one there (`mount -t bpf "
                             "bpf {0}`) or choose another --bpffs",
                             parent)};
  if (::mount("bpf", parent.c_str(), "bpf", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=0700") != 0)
    return system_error("mount the BPF file system on '/sys/fs/bpf'");
  return {};
}

/* A third of the places is free when the table is as full as it may be: see CTN_KEY_TRIES. */
std::uint32_t places_for(std::uint32_t objects) {
  return std::max<std::uint32_t>(objects, 64) * 3 / 2;
}

/* Of a table for so many: a 64th is each container's own, a quarter is not lent. */
ctn_lending lending_of(std::uint32_t objects) {
  constexpr std::uint32_t kLeastOwn = 16;
  std::uint32_t reserve = objects / 4;
  return {std::max(objects / 64, kLeastOwn), objects - reserve, reserve, 0};
}

Result<Skeleton> load_object(const LoadSettings& settings, const Levels& levels) {
  BpfLog log;
  Skeleton skeleton(ctnbpf_bpf::open());
  if (!skeleton)
    return Error{errno, fmt::format("open the BPF object: {}", std::strerror(errno)), log.text()};
  std::uint32_t slots = settings.max_containers + CTN_MAX_HIER;
  auto cpus = static_cast<std::uint32_t>(libbpf_num_possible_cpus());
  std::uint32_t tasks = places_for(settings.max_tasks), files = places_for(settings.max_files);
  std::uint32_t movable = std::max(settings.max_tasks, std::uint32_t{CTN_DEFAULT_TASKS});
  bpf_object* object = skeleton->obj;
  for (const auto& [name, entries] : {std::pair{"nodes", slots},
                                      {"infos", slots},
                                      {"name_index", std::bit_ceil(slots)},
                                      {"task_keys", tasks},
                                      {"task_records", tasks},
                                      {"file_keys", files},
                                      {"file_records", files},
                                      {"move_pids", movable},
                                      {"came_with_masks", CAME_WITH_MASKS * place_words()},
                                      {"came_with_done", movable},
                                      {"arrivals", movable}})
    CTN_TRY(size_map(object, name, entries));
  if (int err = bpf_map__set_key_size(skeleton->maps.came_with_numbers, place_words() * 8);
      err != 0)
    return system_error(-err, "size the map 'came_with_numbers'");
  for (const Subsystem* subsystem : subsystems())
    for (const auto& [suffix, entries] : {std::pair{"", slots},
                                          {"_rates", slots},
                                          {"_states", slots},
                                          {"_sets", slots * PLACE_SETS * place_words()},
                                          {"_cells", slots * cpus},
                                          {"_cpus", cpus}})
      CTN_TRY(size_map(object, std::string(subsystem->name) + suffix, entries));
  skeleton->rodata->slot_count = slots;
  skeleton->rodata->container_count = settings.max_containers;
  skeleton->rodata->task_places = tasks;
  skeleton->rodata->file_places = files;
  skeleton->rodata->cpu_count = cpus;
  skeleton->rodata->task_own = static_cast<__u32>(lending_of(settings.max_tasks).own);
  skeleton->rodata->file_own = static_cast<__u32>(lending_of(settings.max_files).own);
  skeleton->rodata->place_words = place_words();
  skeleton->rodata->gate_can_skip = levels.task() != CTN_LEVEL_STRICT;
  skeleton->rodata->file_gate_can_skip = levels.skips && levels.works("k_file_alloc") &&
                                         levels.level[CTN_HOOKS_FILE] == CTN_LEVEL_FALLBACK;
  skeleton->rodata->files_are_reserved = levels.file_gate == FileGate::kOpen;
  skeleton->rodata->file_entry_can_stay = levels.level[CTN_HOOKS_FILE] != CTN_LEVEL_STRICT;

  for (const hooks::HookProgram& program : hooks::programs()) {
    bpf_program* found = bpf_object__find_program_by_name(skeleton->obj, program.prog());
    bpf_program__set_autoload(found, hooks::is_loaded(program, levels));
  }
  if (int err = ctnbpf_bpf::load(skeleton.get()); err != 0)
    return Error{
        -err,
        fmt::format("load the BPF programs: {} (-v shows the kernel's words)", std::strerror(-err)),
        log.text()};
  return skeleton;
}

Result<void> pin_all(ctnbpf_bpf& skeleton, const Pins& pins) {
  CTN_TRY(make_directory(pins.root()));
  for (const char* part : kParts) CTN_TRY(make_directory(pins.root() + "/" + part));
  auto pin = [](int fd, const std::string& path) -> Result<void> {
    if (int err = bpf_obj_pin(fd, path.c_str()); err != 0)
      return system_error(-err, fmt::format("pin '{}'", path));
    if (::chmod(path.c_str(), 0600) != 0) return system_error(fmt::format("protect '{}'", path));
    return {};
  };
  bpf_map* map = nullptr;
  bpf_object__for_each_map(map, skeleton.obj) {
    std::string name = bpf_map__name(map);
    if (name.starts_with(".data.")) name = name.substr(6); /* ".data.core" is pinned as "core" */
    if (name.find('.') != std::string::npos) continue;     /* constants and strings */
    CTN_TRY(pin(bpf_map__fd(map), pins.map(name)));
  }
  bpf_program* program = nullptr;
  bpf_object__for_each_program(program, skeleton.obj) {
    if (bpf_program__fd(program) < 0) continue; /* not loaded on this level */
    CTN_TRY(pin(bpf_program__fd(program), pins.prog(bpf_program__name(program))));
  }
  return {};
}

}  // namespace

struct Loaded::Object {
  Skeleton skeleton;
};

Loaded::Loaded(std::unique_ptr<Object> object) : object_(std::move(object)) {}
Loaded::Loaded(Loaded&&) noexcept = default;
Loaded::~Loaded() = default;

Result<Loaded> Loaded::load(const LoadSettings& settings) {
  CTN_ASSIGN(Levels levels, probe_levels(Probing::kNeeded));
  if (levels.task() == CTN_LEVEL_NONE)
    return Error{ENOTSUP,
                 "this kernel runs none of the hooks that count tasks: `ctnbpf doctor` says "
                 "which and why"};
  CTN_ASSIGN(Skeleton skeleton, load_object(settings, levels));
  ctn_core* core = &skeleton->data_core->core;
  core->layout = CTN_LAYOUT;
  core->max_containers = settings.max_containers;
  core->max_tasks = settings.max_tasks;
  core->max_files = settings.max_files;
  core->lending[CTN_LEND_TASKS] = lending_of(settings.max_tasks);
  core->lending[CTN_LEND_FILES] = lending_of(settings.max_files);
  core->high_slot = CTN_MAX_HIER;
  core->cpus = skeleton->rodata->cpu_count;
  std::copy(levels.level.begin(), levels.level.end(), core->level);
  core->magic = CTN_MAGIC;
  CTN_ASSIGN(core->groups, groups_number(bpf_map__fd(skeleton->maps.data_core)));
  return Loaded(std::make_unique<Object>(Object{std::move(skeleton)}));
}

Result<void> Loaded::pin(const Pins& pins) const {
  if (!is_there(pins.root())) CTN_TRY(make_directory(pins.root()));
  auto put = [&]() -> Result<void> {
    CTN_TRY(pin_all(*object_->skeleton, Pins(being_built(pins))));
    for (std::string part : kParts)
      CTN_TRY(move_pins(being_built(pins) + "/" + part, pins.root() + "/" + part));
    return remove_pins(being_built(pins));
  };
  auto pinned = put();
  if (!pinned) (void)remove_left_over_pins(pins);
  return pinned;
}

Result<void> require_place(const Pins& pins) {
  fs::path root = pins.root();
  auto refuse = [&](int code, const std::string& why) {
    return Error{code, fmt::format("'{}' {}: choose another --bpffs", pins.root(), why)};
  };
  for (const char* kept : {"links", "progs", "maps", kBeingBuilt, kBeingRemoved})
    if (root.filename() == kept) return refuse(EINVAL, "has a name that is kept for what is in it");
  if (Pins(root.parent_path()).exist()) return refuse(EINVAL, "is in another instance's place");
  if (!is_there(root) || pins.exist()) return {};
  std::error_code error;
  if (!fs::is_directory(fs::symlink_status(root, error)))
    return refuse(EEXIST, "is something else's");
  bool ours = is_there(being_built(pins)) || is_there(being_removed(pins));
  for (const auto& entry : fs::directory_iterator(root, error)) {
    std::string name = entry.path().filename();
    bool part = ours && (name == "links" || name == "progs");
    if (!part && name != kBeingBuilt && name != kBeingRemoved)
      return refuse(EEXIST, fmt::format("is something else's: it has '{}'", printable(name)));
  }
  return {};
}

std::vector<std::string> left_over_pins(const Pins& pins) {
  std::vector<std::string> found;
  for (const std::string& path : {being_built(pins), being_removed(pins)})
    if (is_there(path)) found.push_back(path);
  return found;
}

/* Links and programs that are in place without maps are of an `up` or `down` that was killed, too: with
 * one of the two directories beside them, which goes last. */
Result<void> remove_left_over_pins(const Pins& pins) {
  bool there = pins.exist();
  if (!left_over_pins(pins).empty()) {
    retire(Pins(being_removed(pins)));
    for (const char* part : {"links", "progs"})
      if (!there) CTN_TRY(remove_pins(pins.root() + "/" + part));
    CTN_TRY(remove_pins(being_removed(pins)));
    CTN_TRY(remove_pins(being_built(pins)));
  }
  if (!there) (void)::rmdir(pins.root().c_str());
  return {};
}

Result<bool> bring_up(const Pins& pins, const LoadSettings& settings) {
  CTN_ASSIGN(UniqueFd lock, take_writer_lock());
  CTN_TRY(require_bpffs(fs::path(pins.root()).parent_path()));
  CTN_TRY(require_place(pins));
  CTN_TRY(remove_left_over_pins(pins));
  bool fresh = !pins.exist();
  if (fresh) {
    CTN_ASSIGN(Loaded loaded, Loaded::load(settings));
    CTN_TRY(loaded.pin(pins));
  }
  CTN_ASSIGN(Writer writer, Writer::open(pins, std::move(lock)));
  if (settings.default_layout) CTN_TRY(ensure_hierarchy(writer));
  return fresh;
}

Result<void> ensure_hierarchy(Writer& writer) {
  for (std::uint32_t h = 0; h < CTN_MAX_HIER; h++)
    if (tree::hierarchy_active(writer, h)) return {};
  std::vector<std::string> names;
  for (const Subsystem* subsystem : subsystems())
    if (level_of(*subsystem, writer.core().level) != CTN_LEVEL_NONE)
      names.emplace_back(subsystem->name);
  CTN_TRY(tree::create_hierarchy(writer, "default", names));
  return {};
}

namespace {

/* The pins stay after all: so does everybody where the subsystems had them. */
Result<void> hold_again(Writer& writer) {
  Result<void> result;
  for (const Subsystem* subsystem : subsystems())
    if (subsystem->refresh != nullptr && writer.core().bound[subsystem->id] != 0)
      if (auto held = subsystem->refresh(writer, true); result && !held) result = held;
  return result;
}

/* Has the subsystems let go of the tasks, and takes the pins away. */
Result<void> let_go(Writer* writer, const Pins& pins, bool force) {
  for (const Subsystem* subsystem : subsystems())
    if (writer != nullptr && subsystem->release != nullptr &&
        writer->core().bound[subsystem->id] != 0) {
      auto released = subsystem->release(*writer);
      if (!released && !force) return released;
    }
  if (writer != nullptr) (void)leftovers(*writer, true);
  CTN_TRY(make_directory(being_removed(pins)));
  auto moved = move_pins(pins.root() + "/maps", being_removed(pins) + "/maps");
  if (!moved) (void)::rmdir(being_removed(pins).c_str());
  return moved;
}

}  // namespace

Result<bool> take_down(const Pins& pins, bool force) {
  CTN_ASSIGN(UniqueFd lock, take_writer_lock());
  if (!pins.exist()) CTN_TRY(require_place(pins));
  CTN_TRY(remove_left_over_pins(pins));
  if (!pins.exist()) return false;
  if (!force) {
    CTN_ASSIGN(State state, State::open(pins));
    for (Slot slot = CTN_MAX_HIER; slot < state.nodes().size(); slot++)
      if (std::uint32_t live = live_tasks(state.nodes()[slot]); live != 0)
        return Error{
            EBUSY,
            fmt::format("{} has {} live task{}: end or move them, or use --force to "
                        "drop all limits",
                        printable(tree::address_of(state, slot)), live, live == 1 ? "" : "s")};
  }
  /* Pins of another version cannot be read; they go all the same. */
  auto writer = Writer::open(pins, std::move(lock));
  if (!writer) {
    CTN_ASSIGN(lock, take_writer_lock());
  }
  if (writer) CTN_TRY(refuse_unseen(*writer)); /* who is placed could not be let go */
  if (auto gone = let_go(writer ? &*writer : nullptr, pins, force); !gone) {
    auto held = writer ? hold_again(*writer) : Result<void>();
    if (held) return gone.error();
    return Error{gone.error().code,
                 fmt::format("{}; and what was let go is not all held again ({}): `ctnbpf fsck "
                             "--repair` does that",
                             gone.error().what, held.error().what)};
  }
  CTN_TRY(remove_left_over_pins(pins));
  return true;
}

}  // namespace ctnbpf
