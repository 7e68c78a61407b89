#include "ctnbpf/kill.h"

#include <fmt/format.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <map>
#include <set>
#include <vector>

#include "ctnbpf/events.h"
#include "ctnbpf/membership.h"
#include "ctnbpf/tree.h"
#include "unique_fd.h"

namespace ctnbpf {
namespace {

using Clock = std::chrono::steady_clock;

class Killing {
 public:
  Killing(Writer& writer, Slot slot, int signal, bool recursive)
      : writer_(writer), signal_(signal) {
    hierarchy_ = writer.nodes()[slot].hierarchy;
    wanted_.resize(writer.nodes().size());
    for (Slot one = CTN_MAX_HIER; one < writer.core().high_slot; one++)
      if (writer.nodes()[one].state != CTN_FREE)
        wanted_[one] = recursive ? tree::within(writer, one, slot) : one == slot;
    if (signal_ == SIGKILL) mark(true);
  }
  Killing(const Killing&) = delete;
  Killing& operator=(const Killing&) = delete;
  ~Killing() {
    if (signal_ == SIGKILL) mark(false);
  }

  std::uint64_t live() const {
    std::uint64_t sum = 0;
    for (Slot one = CTN_MAX_HIER; one < wanted_.size(); one++)
      if (wanted_[one]) sum += live_tasks(writer_.nodes()[one]);
    return sum - std::min<std::uint64_t>(sum, own_tasks_);
  }
  bool self() const { return own_tasks_ != 0; }
  std::uint64_t signalled() const { return reached_.size(); }

  /* Signals everybody who has not got it; how many that were. SIGKILL goes to all again: a pid that
   * got it may be another's, born in since.
   *
   * A pid may be another process's by the time it is signalled. So: look who is in, take hold of
   * each by a pidfd, look again, and signal who is still in. Nobody moves in meanwhile, as we hold
   * the writer lock, and who is born in has a parent there: it may be signalled. */
  Result<std::uint64_t> pass() {
    CTN_ASSIGN(auto first, members());
    std::map<std::uint32_t, UniqueFd> held;
    for (std::uint32_t pid : first)
      if (signal_ == SIGKILL || !reached_.contains(pid))
        held[pid].reset(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
    if (held.empty()) return std::uint64_t{0};
    CTN_ASSIGN(auto second, members());
    std::uint64_t count = 0;
    for (const auto& [pid, fd] : held)
      if (fd.valid() && second.contains(pid) &&
          ::syscall(SYS_pidfd_send_signal, fd.get(), signal_, nullptr, 0) == 0)
        count += reached_.insert(pid).second;
    return count;
  }

 private:
  Result<std::set<std::uint32_t>> members() {
    CTN_ASSIGN(auto tasks, walk_tasks(writer_.pins()));
    std::set<std::uint32_t> pids;
    std::uint64_t own = 0;
    for (const ctn_walk_task& task : tasks) {
      Slot at = container_of(task, hierarchy_);
      if (has_exited(task) || (task.slot[hierarchy_] & CTN_EXITED) != 0) continue;
      if (at >= wanted_.size() || !wanted_[at]) continue;
      if (task.tgid == static_cast<std::uint32_t>(::getpid()))
        own++;
      else
        pids.insert(task.tgid);
    }
    own_tasks_ = own;
    return pids;
  }

  void mark(bool on) {
    for (Slot one = CTN_MAX_HIER; one < wanted_.size(); one++) {
      if (!wanted_[one]) continue;
      std::uint32_t& flags = writer_.nodes()[one].flags;
      store(flags, on ? flags | CTN_KILLING : flags & ~std::uint32_t{CTN_KILLING});
    }
  }

  Writer& writer_;
  int signal_;
  std::uint32_t hierarchy_ = 0;
  std::vector<bool> wanted_; /* by slot */
  std::set<std::uint32_t> reached_;
  std::uint64_t own_tasks_ = 0;
};

}  // namespace

Result<KillResult> kill_tasks(Writer& writer, Slot slot, int signal, bool recursive,
                              int timeout_ms) {
  if (slot < CTN_MAX_HIER && !recursive)
    return Error{EPERM, fmt::format("{} is a root: it holds all other tasks of the machine; name a "
                                    "container, or use -r for all below it",
                                    tree::address_of(writer, slot))};
  constexpr int kLookAgainMs = 50; /* for who is born in where no gate refuses forks */
  CTN_ASSIGN(EventReader events, EventReader::open(writer.pins(), EventReader::From::kNow));
  Killing killing(writer, slot, signal, recursive);
  auto deadline = Clock::now() + std::chrono::milliseconds(timeout_ms);
  for (;;) {
    CTN_ASSIGN(std::uint64_t fresh, killing.pass());
    std::uint64_t left = killing.live();
    auto now = Clock::now();
    bool over = left == 0 || now >= deadline;
    if (over && (fresh == 0 || left == 0))
      return KillResult{killing.signalled(), left, killing.self()};
    if (fresh != 0) continue;
    auto rest = std::chrono::duration_cast<std::chrono::milliseconds>(deadline - now).count() + 1;
    while (events.next()) {
    }
    if (killing.live() != 0)
      events.wait(static_cast<int>(std::min<std::int64_t>(rest, kLookAgainMs)));
  }
}

}  // namespace ctnbpf
