#include "steps.h"

#include <linux/bpf.h>
#include <linux/sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>

/* The only system calls that are not caught: those of the handlers, and the return from them. */
extern "C" {
long ctn_raw_syscall(long number, long a, long b, long c, long d, long e, long f);
void ctn_raw_return();
extern const char ctn_raw_begin[];
extern const char ctn_raw_end[];
}
asm(R"(
  .pushsection .text.ctn_raw, "ax"
  .globl ctn_raw_begin, ctn_raw_end, ctn_raw_syscall, ctn_raw_return
  ctn_raw_begin:
  ctn_raw_syscall:
    movq %rdi, %rax
    movq %rsi, %rdi
    movq %rdx, %rsi
    movq %rcx, %rdx
    movq %r8, %r10
    movq %r9, %r8
    movq 8(%rsp), %r9
    syscall
    ret
  ctn_raw_return:
    movq $15, %rax
    syscall
    ud2 /* the address behind the system call is what has to lie in the range */
  ctn_raw_end:
  .popsection
)");

namespace ctnbpf::test {
namespace {

constexpr std::uintptr_t kPage = 4096;
constexpr long kTrapFlag = 0x100;

/* Shared with the parent, which reads it when the child is dead. */
struct Report {
  std::uint64_t steps;
  char last[128];
};

struct Region {
  std::uintptr_t begin;
  std::uintptr_t end;
};

/* What the handlers know; a process that is counted has one thread. */
struct Tracer {
  Report* report;
  std::uint64_t stop_at;
  Steps counted;
  long pid;
  std::array<Region, 256> regions;
  std::size_t region_count;
  std::array<std::uintptr_t, 4> open_pages; /* writable for one instruction */
  std::size_t open_count;
};
Tracer tracer;

long raw(long number, long a = 0, long b = 0, long c = 0, long d = 0, long e = 0, long f = 0) {
  return ctn_raw_syscall(number, a, b, c, d, e, f);
}

long address(const void* pointer) { return reinterpret_cast<long>(pointer); }

bool is_counted() { return raw(SYS_getpid) == tracer.pid; }

[[noreturn]] void give_up(const char* why) {
  raw(SYS_write, 2, address(why), static_cast<long>(std::strlen(why)));
  raw(SYS_exit_group, 99);
  __builtin_unreachable();
}

void step(const char* format, unsigned long one, unsigned long two) {
  std::snprintf(tracer.report->last, sizeof(tracer.report->last), format, one, two);
  if (++tracer.report->steps == tracer.stop_at) raw(SYS_kill, tracer.pid, SIGKILL);
}

void protect(std::uintptr_t page, int how) {
  raw(SYS_mprotect, static_cast<long>(page), kPage, how);
}

/* --- stores --- */

const Region* region_of(std::uintptr_t at) {
  for (std::size_t i = 0; i < tracer.region_count; i++)
    if (at >= tracer.regions[i].begin && at < tracer.regions[i].end) return &tracer.regions[i];
  return nullptr;
}

void on_fault(int, siginfo_t* info, void* context) {
  auto at = reinterpret_cast<std::uintptr_t>(info->si_addr);
  const Region* region = region_of(at);
  if (region == nullptr) give_up("a fault outside all maps\n");
  std::uintptr_t page = at & ~(kPage - 1);
  if (!is_counted()) return protect(page, PROT_READ | PROT_WRITE);
  auto* registers = static_cast<ucontext_t*>(context)->uc_mcontext.gregs;
  if (tracer.open_count == 0)
    step("store at byte %lu of a mapping of %lu", at - region->begin, region->end - region->begin);
  if (tracer.open_count == tracer.open_pages.size())
    give_up("an instruction stores to many pages\n");
  tracer.open_pages[tracer.open_count++] = page;
  protect(page, PROT_READ | PROT_WRITE);
  registers[REG_EFL] |= kTrapFlag;
}

void on_single_step(int, siginfo_t*, void* context) {
  while (tracer.open_count > 0) protect(tracer.open_pages[--tracer.open_count], PROT_READ);
  static_cast<ucontext_t*>(context)->uc_mcontext.gregs[REG_EFL] &= ~kTrapFlag;
}

void note_mapping(long begin, long length) {
  if (tracer.region_count == tracer.regions.size()) give_up("too many mappings\n");
  auto first = static_cast<std::uintptr_t>(begin);
  auto last = first + ((static_cast<std::uintptr_t>(length) + kPage - 1) & ~(kPage - 1));
  tracer.regions[tracer.region_count++] = {first, last};
  raw(SYS_mprotect, begin, static_cast<long>(last - first), PROT_READ);
}

void forget_mapping(long begin) {
  for (std::size_t i = 0; i < tracer.region_count; i++)
    if (tracer.regions[i].begin == static_cast<std::uintptr_t>(begin))
      tracer.regions[i--] = tracer.regions[--tracer.region_count];
}

/* --- system calls --- */

bool changes_bpf(long command) {
  switch (command) {
    case BPF_MAP_UPDATE_ELEM:
    case BPF_MAP_DELETE_ELEM:
    case BPF_OBJ_PIN:
    case BPF_PROG_ATTACH:
    case BPF_PROG_DETACH:
    case BPF_PROG_TEST_RUN:
    case BPF_RAW_TRACEPOINT_OPEN:
    case BPF_LINK_CREATE:
    case BPF_LINK_DETACH:
    case BPF_ITER_CREATE: return true;
    default: return false; /* what is read, and what goes with its descriptor */
  }
}

bool is_iterator(long fd) {
  std::array<char, 64> path{};
  std::array<char, 64> target{};
  std::snprintf(path.data(), path.size(), "/proc/self/fd/%ld", fd);
  long got = raw(SYS_readlink, address(path.data()), address(target.data()), target.size() - 1);
  return got > 0 && std::strstr(target.data(), "bpf_iter") != nullptr;
}

bool changes_something(long number, long a, long b) {
  switch (number) {
    case SYS_bpf: return changes_bpf(a);
    case SYS_read: return is_iterator(a);
    case SYS_write:
    case SYS_writev:
    case SYS_pwrite64:
    case SYS_pwritev: return a > 2;
    case SYS_kill:
    case SYS_tgkill: return b != 0;
    case SYS_sched_setaffinity: return a != 0;
    case SYS_pidfd_send_signal:
    case SYS_migrate_pages:
    case SYS_clone:
    case SYS_fork:
    case SYS_mount:
    case SYS_umount2:
    case SYS_unlink:
    case SYS_unlinkat:
    case SYS_rmdir:
    case SYS_mkdir:
    case SYS_mkdirat:
    case SYS_rename:
    case SYS_renameat:
    case SYS_renameat2:
    case SYS_chmod:
    case SYS_fchmod:
    case SYS_fchmodat:
    case SYS_setxattr:
    case SYS_removexattr: return true;
    default: return false;
  }
}

/* The clone of posix_spawn(), whose child begins on a stack of its own: as a fork, since the handler
 * needs this one. The child is not caught any more; a failure to execute is not seen by the parent. */
void spawn(greg_t* registers) {
  long result = raw(SYS_clone, registers[REG_RDI] & ~(CLONE_VM | CLONE_VFORK), 0,
                    registers[REG_RDX], registers[REG_R10], registers[REG_R8]);
  if (result == 0) registers[REG_RSP] = registers[REG_RSI];
  registers[REG_RAX] = result;
}

void on_syscall(int, siginfo_t* info, void* opaque) {
  auto* context = static_cast<ucontext_t*>(opaque);
  auto* registers = context->uc_mcontext.gregs;
  long number = info->si_syscall;
  long a = registers[REG_RDI];
  long b = registers[REG_RSI];
  long c = registers[REG_RDX];
  long d = registers[REG_R10];
  if (number == SYS_clone3) { /* glibc falls back to clone() */
    registers[REG_RAX] = -ENOSYS;
    return;
  }
  if (changes_something(number, a, b))
    step("system call %lu (%lu)", static_cast<unsigned long>(number),
         static_cast<unsigned long>(a));
  bool spawns = number == SYS_clone && (a & CLONE_VM) != 0 && (a & CLONE_VFORK) != 0;
  if (spawns) return spawn(registers);
  if (number == SYS_vfork || (number == SYS_clone && (a & CLONE_VM) != 0))
    give_up("a thread or a vfork is not supported here\n");
  long result = raw(number, a, b, c, d, registers[REG_R8], registers[REG_R9]);
  if (number == SYS_mmap && result > 0 && (d & MAP_SHARED) != 0 && (d & MAP_ANONYMOUS) == 0 &&
      (c & PROT_WRITE) != 0 && tracer.counted == Steps::kAll)
    note_mapping(result, b);
  if (number == SYS_munmap && result == 0) forget_mapping(a);
  /* The return from here would set the old mask again. Of ours nothing is blocked: it would kill. */
  if (number == SYS_rt_sigprocmask) {
    raw(SYS_rt_sigprocmask, SIG_BLOCK, 0, address(&context->uc_sigmask), 8);
    for (int ours : {SIGSYS, SIGSEGV, SIGTRAP}) sigdelset(&context->uc_sigmask, ours);
  }
  registers[REG_RAX] = result;
}

/* As the kernel has it; libc's own would return by a system call that is caught. */
void handle(int number, void (*handler)(int, siginfo_t*, void*)) {
  struct {
    void (*handler)(int, siginfo_t*, void*);
    unsigned long flags;
    void (*restorer)();
    unsigned long mask;
  } action = {handler, SA_SIGINFO | SA_NODEFER | 0x04000000 /* SA_RESTORER */, ctn_raw_return, 0};
  raw(SYS_rt_sigaction, number, address(&action), 0, 8);
}

void begin(Report* report, std::uint64_t stop_at, Steps counted) {
  tracer = {};
  tracer.report = report;
  tracer.stop_at = stop_at;
  tracer.counted = counted;
  tracer.pid = raw(SYS_getpid);
  handle(SIGSEGV, on_fault);
  handle(SIGTRAP, on_single_step);
  handle(SIGSYS, on_syscall);
  constexpr long kSet = 59; /* PR_SET_SYSCALL_USER_DISPATCH */
  constexpr long kOn = 1;
  if (raw(SYS_prctl, kSet, kOn, address(ctn_raw_begin), ctn_raw_end - ctn_raw_begin, 0) != 0)
    give_up("this kernel has no syscall user dispatch\n");
}

std::string read_all(int fd) {
  std::string text;
  std::array<char, 4096> buffer{};
  ::lseek(fd, 0, SEEK_SET);
  for (ssize_t got = 0; (got = ::read(fd, buffer.data(), buffer.size())) > 0;)
    text.append(buffer.data(), static_cast<std::size_t>(got));
  return text;
}

}  // namespace

Stopped run_until_step(std::uint64_t stop_at, const std::function<int()>& body, Steps counted) {
  void* page = ::mmap(nullptr, kPage, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  auto* report = static_cast<Report*>(page);
  int output = ::memfd_create("output", MFD_CLOEXEC);
  std::fflush(nullptr);
  pid_t pid = ::fork();
  if (pid == 0) {
    ::dup2(output, 1);
    ::dup2(output, 2);
    if (stop_at != 0) begin(report, stop_at, counted);
    int code = body();
    std::fflush(nullptr);
    ::_exit(code);
  }
  int status = 0;
  while (::waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  Stopped stopped;
  stopped.killed = WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
  stopped.code = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
  stopped.steps = report->steps;
  stopped.last = report->last;
  stopped.output = read_all(output);
  ::close(output);
  ::munmap(page, kPage);
  return stopped;
}

}  // namespace ctnbpf::test
