#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <functional>
#include <map>
#include <memory>

#include "kernel/bpf_log.h"
#include "ctnbpf/levels.h"
#include "kernel/grace.h"
#include "kernel/hooks.h"
#include "probe.h"

#include "probe.skel.h"

namespace ctnbpf {
namespace {

struct Destroy {
  void operator()(probe_bpf* skeleton) const { probe_bpf::destroy(skeleton); }
  void operator()(ring_buffer* ring) const { ring_buffer__free(ring); }
  void operator()(bpf_link* link) const { bpf_link__destroy(link); }
};

using hooks::Batch;
using hooks::Hook;

bool is_lsm(const char* hook) { return std::string_view(hook).starts_with("lsm/"); }

/* Waits for the first run. A task_struct is freed some grace periods after the task is reaped; where
 * RCU is lazy (CONFIG_RCU_LAZY) up to 10 s later, unless something else asks for a grace period. */
bool ran(probe_bpf& all, const volatile ctn_probe& probe) {
  constexpr int kTurns = 120;
  constexpr int kTurnMs = 100;
  auto ignore = [](void*, void*, std::size_t) { return 0; };
  std::unique_ptr<ring_buffer, Destroy> ring(
      ring_buffer__new(bpf_map__fd(all.maps.runs), ignore, nullptr, nullptr));
  for (int i = 0; i < kTurns && probe.runs == 0; i++) {
    wait_for_programs();
    if (probe.runs == 0) ring_buffer__poll(ring.get(), kTurnMs);
  }
  return probe.runs != 0;
}

using Skeleton = std::unique_ptr<probe_bpf, Destroy>;

/* The row that a program of the probes is of. */
const Hook* row_of(std::string_view program) {
  const Hook* found = nullptr;
  hooks::each_hook([&](const Hook& hook) {
    if (program == hook.name) found = &hook;
  });
  return found;
}

/* The probes that `wanted` says are loaded; null, with `error` set, if the kernel refuses. */
Skeleton load_probes(const std::function<bool(const Hook&)>& wanted, int& error) {
  BpfLog log;
  Skeleton skeleton(probe_bpf::open());
  if (!skeleton) {
    error = errno;
    return nullptr;
  }
  bpf_program* each = nullptr;
  bpf_object__for_each_program(each, skeleton->obj) {
    const Hook* hook = row_of(bpf_program__name(each));
    bpf_program__set_autoload(each, hook != nullptr && wanted(*hook));
  }
  error = -probe_bpf::load(skeleton.get());
  return error == 0 ? std::move(skeleton) : nullptr;
}

/* The batches, each loaded when it is first asked for; null is what has none, or one that is refused. */
class Batches {
 public:
  probe_bpf* get(Batch batch) {
    if (batch == Batch::kNone) return nullptr;
    auto [at, is_new] = loaded_.try_emplace(batch);
    int error = 0;
    if (is_new)
      at->second = load_probes([=](const Hook& one) { return one.batch == batch; }, error);
    return at->second.get();
  }

 private:
  std::map<Batch, Skeleton> loaded_;
};

/* What is attached and fired by nobody. It stays while the others are tried: on Linux 6.1 the first
 * function to get a trampoline waits for a grace period of RCU tasks (100 ms and more), the next do not. */
struct Attached {
  Skeleton skeleton;
  std::unique_ptr<bpf_link, Destroy> link;
};

/* Empty if the hook works, else why not. */
std::string try_hook(Batches& batches, const Hook& tried, std::vector<Attached>& kept) {
  Skeleton own;
  probe_bpf* all = batches.get(tried.batch);
  if (all == nullptr) {
    int error = 0;
    own = load_probes([&](const Hook& one) { return &one == &tried; }, error);
    /* Who looks the name up in the kernel's BTF says ESRCH. */
    if (!own && error == ESRCH) return "this kernel has no such function";
    if (!own) return fmt::format("the kernel refuses the program: {}", std::strerror(error));
    all = own.get();
  }
  BpfLog log;
  bpf_program* program = bpf_object__find_program_by_name(all->obj, tried.name);
  std::unique_ptr<bpf_link, Destroy> link(bpf_program__attach(program));
  if (!link) return fmt::format("the program cannot be attached: {}", std::strerror(errno));
  if (tried.fire.act == nullptr) {
    kept.push_back({std::move(own), std::move(link)});
    return {};
  }

  ctn_probe* probe = &all->data_probe->probe;
  *probe = {};
  (void)tried.fire.act();
  if (tried.fire.late ? !ran(*all, *probe) : probe->runs == 0)
    return "the program is attached and never runs";
  if (!tried.gate) return {};
  probe->refuse_pid = static_cast<std::uint32_t>(::getpid());
  bool passed = tried.fire.act();
  probe->refuse_pid = 0;
  return passed ? "the program runs and cannot refuse" : "";
}

bool has_better(const Levels& levels, const Hook& hook) {
  return hook.better[0] != nullptr &&
         std::all_of(hook.better.begin(), hook.better.end(),
                     [&](const char* one) { return one == nullptr || levels.works(one); });
}

/* What is to be tried, in this order: what is only attached, and stays so (see Attached); LSM programs, with which
 * others are not needed, those that tell late last; the rest. */
std::vector<const Hook*> in_order() {
  std::vector<const Hook*> all;
  hooks::each_hook([&](const Hook& hook) {
    if (hook.like == nullptr) all.push_back(&hook);
  });
  auto turn = [](const Hook* hook) {
    if (hook->fire.act == nullptr) return 0;
    if (!is_lsm(hook->section)) return 3;
    return hook->fire.late ? 2 : 1;
  };
  std::stable_sort(all.begin(), all.end(),
                   [&](const Hook* a, const Hook* b) { return turn(a) < turn(b); });
  return all;
}

}  // namespace

bool Levels::works(const std::string& program) const {
  for (const ProbedHook& hook : hooks)
    if (program == hook.program) return hook.works;
  return false;
}

Result<Levels> probe_levels(Probing which) {
  if (!kernel_facts().btf)
    return Error{ENOTSUP,
                 "this kernel has no BTF (/sys/kernel/btf/vmlinux is missing): use one built "
                 "with CONFIG_DEBUG_INFO_BTF=y, as distributions' kernels are"};
  Levels levels;
  Batches batches;
  bool lsm_runs = false;
  std::vector<Attached> kept;
  levels.skips = kernel_facts().preempts();
  for (const Hook* one : in_order()) {
    bool idle = !levels.skips && hooks::is_only_for_skips(one->name);
    if (which == Probing::kNeeded && (idle || has_better(levels, *one))) continue;
    /* Without `bpf` in the LSM list none of its programs runs: not waited for one by one. */
    bool hopeless = is_lsm(one->section) && one->fire.late && !lsm_runs;
    std::string reason = hopeless ? "BPF LSM programs do not run" : try_hook(batches, *one, kept);
    lsm_runs = lsm_runs || (is_lsm(one->section) && reason.empty());
    levels.hooks.push_back({one->name, one->section, reason.empty(), reason});
  }
  hooks::kTaskHooks.find_levels(levels);
  for (const hooks::HookTable* table : hooks::tables())
    if (table != &hooks::kTaskHooks) table->find_levels(levels);
  return levels;
}

}  // namespace ctnbpf
