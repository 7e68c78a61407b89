#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <linux/perf_event.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <csignal>
#include <functional>
#include <map>
#include <memory>

#include "bpf_log.h"
#include "ctnbpf/levels.h"
#include "grace.h"
#include "hooks.h"
#include "numfiles/numfiles_hooks.h"
#include "probe.h"

#include "probe.skel.h"

namespace ctnbpf {
namespace {

struct Destroy {
  void operator()(probe_bpf* skeleton) const { probe_bpf::destroy(skeleton); }
  void operator()(ring_buffer* ring) const { ring_buffer__free(ring); }
  void operator()(bpf_link* link) const { bpf_link__destroy(link); }
};

enum class Fires {
  kInLife, /* of a task, before waitpid returns to the parent */
  kLate,   /* some time after the task is reaped */
  kFile,   /* when a file is made and closed */
  kOpen,   /* when one is created, opened and closed */
  kPipe,   /* when a pipe is made and closed */
  kSocket, /* when a socket is */
  kCall,   /* by the system call `call` */
  kMask,   /* when a CPU mask is set */
  kNot,    /* needs a mounted overlayfs, or a control group to write to: is only attached */
};

/* Programs that do without another if they all work. */
using Better = std::array<const char*, 2>;
constexpr Better kStrictTask = {"l_task_alloc", "l_task_free"};
constexpr Better kStrictFile = {"l_file_alloc", "l_file_free"};

/* What makes a file that only its own system call is asked for. */
sigset_t no_signals() {
  sigset_t none;
  sigemptyset(&none);
  return none;
}
constexpr std::size_t kSigsetSize = 8; /* the kernel's */
[[maybe_unused]] long eventfd2_() { return ::syscall(SYS_eventfd2, 0, 0); }
[[maybe_unused]] long epoll_create1_() { return ::syscall(SYS_epoll_create1, 0); }
[[maybe_unused]] long timerfd_create_() {
  return ::syscall(SYS_timerfd_create, CLOCK_MONOTONIC, 0);
}
[[maybe_unused]] long inotify_init1_() { return ::syscall(SYS_inotify_init1, 0); }
[[maybe_unused]] long signalfd4_() {
  sigset_t none = no_signals();
  return ::syscall(SYS_signalfd4, -1, &none, kSigsetSize, 0);
}
#ifdef SYS_eventfd /* newer machines have the newer calls only */
long eventfd_() { return ::syscall(SYS_eventfd, 0); }
long epoll_create_() { return ::syscall(SYS_epoll_create, 1); }
long inotify_init_() { return ::syscall(SYS_inotify_init); }
long signalfd_() {
  sigset_t none = no_signals();
  return ::syscall(SYS_signalfd, -1, &none, kSigsetSize);
}
#endif
long perf_event() {
  perf_event_attr attr = {};
  attr.type = PERF_TYPE_SOFTWARE;
  attr.size = sizeof(attr);
  attr.config = PERF_COUNT_SW_DUMMY;
  return ::syscall(SYS_perf_event_open, &attr, 0, -1, -1, PERF_FLAG_FD_CLOEXEC);
}

/* Probes are loaded by batches of what kernels have, or refuse, together: each load has the kernel's type
 * information read anew, which takes longer than the probe. A batch that is refused is loaded one by one. */
enum class Batch {
  kHooks,     /* what every kernel we know has */
  kKprobes,   /* need no type information */
  kCalls,     /* system calls */
  kNoaccount, /* functions that some kernels do not have */
  kBacking,
  kNone, /* loaded by itself: newer kernels have closed it */
};

constexpr struct Probe {
  const char* program;
  const char* hook;
  bool gate;
  Fires fires;
  Batch batch = Batch::kHooks;
  Better better = {}; /* with these nothing else needs it; they come before it */
  long (*call)() = nullptr;
} kProbes[] = {
    /* First, as what is only attached stays so until all are tried: see Attached. */
    {"f_file_noacct", "fentry/alloc_empty_file_noaccount", false, Fires::kNot, Batch::kNoaccount},
    {"x_file_noacct", "fexit/alloc_empty_file_noaccount", false, Fires::kNot, Batch::kNoaccount},
    {"f_file_backing", "fentry/alloc_empty_backing_file", false, Fires::kNot, Batch::kBacking},
    {"x_file_backing", "fexit/alloc_empty_backing_file", false, Fires::kNot, Batch::kBacking},
    {"k_file_noacct", "kprobe/alloc_empty_file_noaccount", false, Fires::kNot, Batch::kKprobes},
    {"r_file_noacct", "kretprobe/alloc_empty_file_noaccount", false, Fires::kNot, Batch::kKprobes},
    {"k_file_backing", "kprobe/alloc_empty_backing_file", false, Fires::kNot, Batch::kKprobes},
    {"r_file_backing", "kretprobe/alloc_empty_backing_file", false, Fires::kNot, Batch::kKprobes},
    {"t_moved", "tp_btf/cgroup_attach_task", false, Fires::kNot},
    {"l_task_alloc", "lsm/task_alloc", true, Fires::kInLife},
    {"l_task_free", "lsm/task_free", false, Fires::kLate},
    {"f_task_alloc", "fmod_ret/security_task_alloc", true, Fires::kInLife, Batch::kHooks,
     kStrictTask},
    {"f_task_free", "fentry/security_task_free", false, Fires::kLate, Batch::kHooks, kStrictTask},
    {"f_release", "fentry/release_task", false, Fires::kInLife},
    {"k_release", "kprobe/release_task", false, Fires::kInLife, Batch::kKprobes},
    {"k_newtask", "kprobe/wake_up_new_task", false, Fires::kInLife, Batch::kKprobes},
    {"p_exit", "tp/sched/sched_process_exit", false, Fires::kInLife, Batch::kKprobes},
    {"k_task_free", "kprobe/security_task_free", false, Fires::kLate, Batch::kKprobes, kStrictTask},
    {"t_newtask", "tp_btf/task_newtask", false, Fires::kInLife},
    {"t_exit", "tp_btf/sched_process_exit", false, Fires::kInLife},
    {"t_task_free", "tp_btf/sched_process_free", false, Fires::kLate, Batch::kHooks, kStrictTask},
    {"t_switch", "tp_btf/sched_switch", false, Fires::kInLife},
    {"l_file_alloc", "lsm/file_alloc_security", true, Fires::kFile, Batch::kNone},
    {"l_file_free", "lsm/file_free_security", false, Fires::kFile},
    {"f_file_alloc", "fmod_ret/security_file_alloc", true, Fires::kFile, Batch::kHooks,
     kStrictFile},
    {"f_file_free",
     "fentry/security_file_free",
     false,
     Fires::kFile,
     Batch::kHooks,
     {"l_file_free"}},
    {"l_file_open", "lsm/file_open", true, Fires::kOpen, Batch::kHooks, kStrictFile},
    {"l_inode_create", "lsm/inode_create", true, Fires::kOpen, Batch::kHooks, kStrictFile},
    {"l_inode_alloc", "lsm/inode_alloc_security", true, Fires::kPipe, Batch::kHooks, kStrictFile},
    {"l_inode_free", "lsm/inode_free_security", false, Fires::kPipe, Batch::kHooks, kStrictFile},
    {"l_sock_create", "lsm/socket_create", true, Fires::kSocket, Batch::kHooks, kStrictFile},
    {"k_file_init", "kprobe/file_init_path", false, Fires::kPipe, Batch::kKprobes, kStrictFile},
    {"k_task_alloc", "kprobe/security_task_alloc", false, Fires::kInLife, Batch::kKprobes,
     kStrictTask},
    {"k_file_free",
     "kprobe/security_file_free",
     false,
     Fires::kFile,
     Batch::kKprobes,
     {"l_file_free"}},
    {"k_file_alloc", "kprobe/security_file_alloc", false, Fires::kFile, Batch::kKprobes,
     kStrictFile},
    {"k_dentry_open", "kprobe/do_dentry_open", false, Fires::kOpen, Batch::kKprobes, kStrictFile},
    {"l_perf_open", "lsm/perf_event_open", true, Fires::kCall, Batch::kCalls, kStrictFile,
     perf_event},
    {"k_special", "kprobe/" CTN_SYSCALL(eventfd2), false, Fires::kCall, Batch::kKprobes,
     kStrictFile, eventfd2_},
    {"k_sigfd", "kprobe/" CTN_SYSCALL(signalfd4), false, Fires::kCall, Batch::kKprobes, kStrictFile,
     signalfd4_},
    {"r_special", "kretprobe/" CTN_SYSCALL(eventfd2), false, Fires::kCall, Batch::kKprobes,
     kStrictFile, eventfd2_},
#define CTN_SPECIAL_FILE_PROBE(call, kprobe)                                                  \
  {"a_" #call, "fmod_ret/" CTN_SYSCALL(call), true, Fires::kCall, Batch::kCalls, kStrictFile, \
   call##_},
    CTN_SPECIAL_FILES(CTN_SPECIAL_FILE_PROBE)
#undef CTN_SPECIAL_FILE_PROBE
        {"k_affinity", "kprobe/sched_setaffinity", false, Fires::kMask, Batch::kKprobes},
    {"f_affinity", "fentry/sched_setaffinity", false, Fires::kMask, Batch::kHooks},
    {"l_setscheduler", "lsm/task_setscheduler", true, Fires::kMask},
    {"f_setscheduler",
     "fmod_ret/security_task_setscheduler",
     true,
     Fires::kMask,
     Batch::kHooks,
     {"l_setscheduler"}},
    {"k_setscheduler",
     "kprobe/security_task_setscheduler",
     false,
     Fires::kMask,
     Batch::kKprobes,
     {"l_setscheduler"}},
    {"r_affinity",
     "kretprobe/sched_setaffinity",
     false,
     Fires::kMask,
     Batch::kKprobes,
     {"l_setscheduler"}},
};

bool is_lsm(const char* hook) { return std::string_view(hook).starts_with("lsm/"); }

/* A child is born, ends and is reaped: fires every hook of a task's life. Says whether fork worked. */
bool live_and_die() {
  pid_t pid = ::fork();
  if (pid == 0) ::_exit(0);
  if (pid < 0) return false;
  while (::waitpid(pid, nullptr, 0) < 0 && errno == EINTR) {
  }
  return true;
}

/* A file is made and freed. Says whether making it worked. */
bool open_and_close() {
  int fd = ::eventfd(0, EFD_CLOEXEC);
  if (fd >= 0) ::close(fd);
  return fd >= 0;
}

bool make_and_close(long fd) {
  if (fd >= 0) ::close(static_cast<int>(fd));
  return fd >= 0;
}

bool pipe_and_close() {
  int ends[2] = {-1, -1};
  if (::pipe2(ends, O_CLOEXEC) != 0) return false;
  ::close(ends[0]);
  ::close(ends[1]);
  return true;
}

/* In the first of these places that has room for an empty file, which goes again. */
bool create_and_close() {
  for (const char* place : {"/dev/shm", "/run", "/tmp"}) {
    std::string path = fmt::format("{}/.ctnbpf-probe-{}", place, ::getpid());
    int fd = ::open(path.c_str(), O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC | O_NOFOLLOW, 0600);
    /* A refusal to open it comes when it is there already. */
    if (fd >= 0 || errno != EEXIST) ::unlink(path.c_str());
    if (fd < 0) continue;
    ::close(fd);
    return true;
  }
  return false;
}

/* Sets the mask this thread has. Says whether that worked. */
bool set_same_mask() {
  constexpr std::size_t kWords = 128; /* of the largest kernels */
  std::array<unsigned long, kWords> mask = {};
  long bytes = ::syscall(SYS_sched_getaffinity, 0, sizeof(mask), mask.data());
  return bytes > 0 && ::syscall(SYS_sched_setaffinity, 0, bytes, mask.data()) == 0;
}

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

const Probe* probe_of(std::string_view program) {
  const auto* found = std::find_if(std::begin(kProbes), std::end(kProbes),
                                   [&](const Probe& one) { return program == one.program; });
  return found == std::end(kProbes) ? nullptr : found;
}

/* The probes that `wanted` says are loaded; null, with `error` set, if the kernel refuses. */
Skeleton load_probes(const std::function<bool(const Probe&)>& wanted, int& error) {
  BpfLog log;
  Skeleton skeleton(probe_bpf::open());
  if (!skeleton) {
    error = errno;
    return nullptr;
  }
  bpf_program* each = nullptr;
  bpf_object__for_each_program(each, skeleton->obj) {
    const Probe* probe = probe_of(bpf_program__name(each));
    bpf_program__set_autoload(each, probe != nullptr && wanted(*probe));
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
      at->second = load_probes([=](const Probe& one) { return one.batch == batch; }, error);
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
std::string try_probe(Batches& batches, const Probe& tried, std::vector<Attached>& kept) {
  const char* name = tried.program;
  Fires fires = tried.fires;
  Skeleton own;
  probe_bpf* all = batches.get(tried.batch);
  if (all == nullptr) {
    int error = 0;
    own = load_probes([&](const Probe& one) { return &one == &tried; }, error);
    /* Who looks the name up in the kernel's BTF says ESRCH. */
    if (!own && error == ESRCH) return "this kernel has no such function";
    if (!own) return fmt::format("the kernel refuses the program: {}", std::strerror(error));
    all = own.get();
  }
  BpfLog log;
  bpf_program* program = bpf_object__find_program_by_name(all->obj, name);
  std::unique_ptr<bpf_link, Destroy> link(bpf_program__attach(program));
  if (!link) return fmt::format("the program cannot be attached: {}", std::strerror(errno));
  if (fires == Fires::kNot) {
    kept.push_back({std::move(own), std::move(link)});
    return {};
  }

  auto fire = [&] {
    switch (fires) {
      case Fires::kFile: return open_and_close();
      case Fires::kOpen: return create_and_close();
      case Fires::kPipe: return pipe_and_close();
      case Fires::kSocket: return make_and_close(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
      case Fires::kCall: return make_and_close(tried.call());
      case Fires::kMask: return set_same_mask();
      default: return live_and_die();
    }
  };
  ctn_probe* probe = &all->data_probe->probe;
  *probe = {};
  fire();
  if (fires == Fires::kLate ? !ran(*all, *probe) : probe->runs == 0)
    return "the program is attached and never runs";
  if (!tried.gate) return {};
  probe->refuse_pid = static_cast<std::uint32_t>(::getpid());
  bool passed = fire();
  probe->refuse_pid = 0;
  return passed ? "the program runs and cannot refuse" : "";
}

constexpr const char* kOpenGate[] = {"l_file_open",  "l_inode_create", "l_inode_alloc",
                                     "l_inode_free", "l_sock_create",  "k_file_init"};

/* The level of a group from its own hooks, best first. */
void find_file_levels(Levels& levels) {
  std::uint32_t& gate = levels.level[CTN_HOOKS_FILE];
  std::uint32_t& free = levels.level[CTN_HOOKS_FILE_FREE];
  if (levels.works("l_file_free"))
    free = CTN_LEVEL_STRICT;
  else if (levels.works("f_file_free"))
    free = CTN_LEVEL_FALLBACK;
  if (levels.task() < CTN_LEVEL_FALLBACK || free == CTN_LEVEL_NONE) return;
  if (levels.works("l_file_alloc") && free == CTN_LEVEL_STRICT) {
    gate = CTN_LEVEL_STRICT;
    levels.file_gate = FileGate::kAlloc;
  } else if (free == CTN_LEVEL_STRICT &&
             std::all_of(std::begin(kOpenGate), std::end(kOpenGate),
                         [&](const char* program) { return levels.works(program); })) {
    gate = CTN_LEVEL_STRICT;
    levels.file_gate = FileGate::kOpen;
  } else if (levels.works("f_file_alloc")) {
    gate = CTN_LEVEL_FALLBACK;
    levels.file_gate = FileGate::kAlloc;
  }
}

/* At every level tasks are placed. A task stays where it was placed only where its own change of the
 * mask can be refused. */
void find_place_level(Levels& levels) {
  std::uint32_t& place = levels.level[CTN_HOOKS_PLACE];
  place = std::min<std::uint32_t>(levels.task(), CTN_LEVEL_ACCOUNTING);
  bool never_skipped = !levels.skips || levels.works("k_affinity");
  if (levels.task() < CTN_LEVEL_FALLBACK ||
      (!levels.works("f_affinity") && !levels.works("k_affinity")))
    return;
  if (levels.works("l_setscheduler") && never_skipped)
    place = CTN_LEVEL_STRICT;
  else if (levels.works("l_setscheduler"))
    place = CTN_LEVEL_FALLBACK;
  else if (levels.works("f_setscheduler"))
    place = CTN_LEVEL_FALLBACK;
}

bool has_better(const Levels& levels, const Probe& probe) {
  return probe.better[0] != nullptr &&
         std::all_of(probe.better.begin(), probe.better.end(),
                     [&](const char* one) { return one == nullptr || levels.works(one); });
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
  for (const Probe& one : kProbes) {
    bool idle = !levels.skips && hooks::is_only_for_skips(one.program);
    if (which == Probing::kNeeded && (idle || has_better(levels, one))) continue;
    /* Without `bpf` in the LSM list none of its programs runs: not waited for one by one. */
    bool hopeless = is_lsm(one.hook) && one.fires == Fires::kLate && !lsm_runs;
    std::string reason = hopeless ? "BPF LSM programs do not run" : try_probe(batches, one, kept);
    lsm_runs = lsm_runs || (is_lsm(one.hook) && reason.empty());
    levels.hooks.push_back({one.program, one.hook, reason.empty(), reason});
  }
  std::uint32_t& task = levels.level[CTN_HOOKS_TASK];
  bool counts = levels.works("t_exit");
  if (levels.works("l_task_alloc") && levels.works("l_task_free") && counts)
    task = CTN_LEVEL_STRICT;
  else if (levels.works("f_task_alloc") && levels.works("f_task_free") &&
           levels.works("t_newtask") && levels.works("t_task_free") && counts)
    task = CTN_LEVEL_FALLBACK;
  else if (levels.works("t_newtask") && levels.works("t_task_free") && counts)
    task = CTN_LEVEL_ACCOUNTING;
  if (levels.works("f_release")) levels.level[CTN_HOOKS_REAP] = task;
  if (levels.works("t_switch")) levels.level[CTN_HOOKS_SWITCH] = task;
  find_file_levels(levels);
  find_place_level(levels);
  return levels;
}

}  // namespace ctnbpf
