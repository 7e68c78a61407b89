/* Linked by each program itself: which BPF object there is goes with its table of subsystems. */
#include "service/loaded.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstring>

#include "cpuset/cpuset.h" /* what is in its sections, for the skeleton */
#include "ctnbpf/subsystem.h"
#include "kernel/bpf_log.h"
#include "kernel/hooks.h"
#include "kernel/instances.h"
#include "kernel/loading.h"
#include "service/pinning.h"

#include "ctnbpf.skel.h"

namespace ctnbpf {
namespace {

struct Destroy {
  void operator()(ctnbpf_bpf* skeleton) const { ctnbpf_bpf::destroy(skeleton); }
};
using Skeleton = std::unique_ptr<ctnbpf_bpf, Destroy>;

/* A table of the objects `name`: NAME_keys, NAME_records. */
Result<void> size_table(Loading& loading, const std::string& name, std::uint32_t objects) {
  CTN_TRY(loading.size(name + "_keys", places_for(objects)));
  CTN_TRY(loading.size(name + "_records", places_for(objects)));
  CTN_TRY(loading.set(name + "_places", places_for(objects)));
  return loading.set(name + "_own", lending_of(objects).own);
}

Result<void> size_all(Loading& loading, const LoadSettings& settings) {
  const Loading::Facts& facts = loading.facts;
  CTN_TRY(loading.size("nodes", facts.slots));
  CTN_TRY(loading.size("infos", facts.slots));
  CTN_TRY(loading.size("name_index", std::bit_ceil(facts.slots)));
  CTN_TRY(loading.set("slot_count", facts.slots));
  CTN_TRY(loading.set("container_count", facts.slots - CTN_MAX_HIER));
  CTN_TRY(loading.set("cpu_count", facts.cpus));
  CTN_TRY(size_table(loading, "task", settings.max_tasks));
  CTN_TRY(loading.size("move_pids", facts.tasks));
  CTN_TRY(loading.size("arrivals", facts.tasks));
  CTN_TRY(loading.set("gate_can_skip", facts.levels.task() != CTN_LEVEL_STRICT));
  for (const Subsystem* subsystem : subsystems()) {
    for (const KernelTable& table : subsystem->tables)
      CTN_TRY(size_table(loading, table.name, settings.max_files));
    if (subsystem->load != nullptr) CTN_TRY(subsystem->load(loading));
  }
  return {};
}

Result<Skeleton> load_object(const LoadSettings& settings, const Levels& levels) {
  BpfLog log;
  Skeleton skeleton(ctnbpf_bpf::open());
  if (!skeleton)
    return Error{errno, fmt::format("open the BPF object: {}", std::strerror(errno)), log.text()};
  Loading loading(skeleton->obj,
                  {.levels = levels,
                   .slots = settings.max_containers + CTN_MAX_HIER,
                   .cpus = static_cast<std::uint32_t>(libbpf_num_possible_cpus()),
                   .tasks = std::max(settings.max_tasks, std::uint32_t{CTN_DEFAULT_TASKS})});
  CTN_TRY(size_all(loading, settings));

  hooks::each_hook([&](const hooks::Hook& hook) {
    if (bpf_program* found = bpf_object__find_program_by_name(skeleton->obj, hook.prog()))
      bpf_program__set_autoload(found, hooks::is_loaded(hook, levels));
  });
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
  begin_core(*core, settings, levels.level,
             static_cast<std::uint32_t>(libbpf_num_possible_cpus()));
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

}  // namespace ctnbpf
