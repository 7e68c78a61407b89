#include "ctnbpf/namespaces.h"

#include <fmt/format.h>
#include <sys/stat.h>

#include <array>
#include <fstream>
#include <sstream>

#include "ctnbpf/tree.h"
#include "kernel/object_table.h"
#include "base/own_mount.h"
#include "kernel/run_program.h"
#include "ctnbpf/unique_fd.h"

namespace ctnbpf {
namespace {

/* Of nsfs, for as long as there are namespaces: PROC_PID_INIT_INO in the kernel's include/linux/proc_ns.h. */
constexpr ino_t kInitialPidNamespace = 0xeffffffc;

bool look_if_initial() {
  struct stat st = {};
  bool found = ::stat("/proc/self/ns/pid", &st) == 0;
  if (!found)
    if (UniqueFd proc = own_mount("proc"); proc.valid())
      found = ::fstatat(proc.get(), "self/ns/pid", &st, 0) == 0;
  return found && st.st_ino == kInitialPidNamespace;
}

/* A /proc of this namespace knows this process by one number; that of one above by one more for each level,
 * and that of one below not at all. */
bool proc_is_ours() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (!line.starts_with("NSpid:")) continue;
    std::istringstream numbers(line.substr(6));
    pid_t first = 0;
    pid_t second = 0;
    return numbers >> first && !(numbers >> second);
  }
  return false;
}

std::string find_proc() {
  if (in_initial_pid_namespace() || proc_is_ours()) return "/proc";
  UniqueFd mount = own_mount("proc"); /* a procfs is of the namespace it is mounted in */
  /* Better no files than those of others. */
  return mount.valid() ? fmt::format("/proc/self/fd/{}", mount.release()) : "/nonexistent";
}

}  // namespace

bool in_initial_pid_namespace() {
  static const bool kInitial = look_if_initial();
  return kInitial;
}

const std::string& proc_root() {
  static const std::string kRoot = find_proc();
  return kRoot;
}

std::string status_text(pid_t task, std::string_view key) {
  std::ifstream status(fmt::format("{}/{}/status", proc_root(), task));
  for (std::string line; std::getline(status, line);)
    if (line.starts_with(key)) return line.substr(key.size());
  return {};
}

Result<std::map<Slot, std::uint64_t>> unseen_tasks(const State& state,
                                                   const std::function<bool(Slot)>& wanted,
                                                   Exited exited) {
  std::map<Slot, std::uint64_t> unseen;
  if (in_initial_pid_namespace()) return unseen;
  CTN_ASSIGN(ObjectTable tasks, ObjectTable::open(state.pins(), "task", sizeof(ctn_task), false));
  std::multimap<std::uint64_t, Slot> members; /* a task can be in several hierarchies */
  tasks.each<ctn_task>([&](std::uint64_t address, const ctn_task& task) {
    for (const __u32& word : task.slot) {
      std::uint32_t seen = load(word);
      Slot slot = seen & ~CTN_EXITED;
      bool counts = (seen & CTN_EXITED) == 0 || exited == Exited::kToo;
      if (slot >= CTN_MAX_HIER && counts && wanted(slot)) members.emplace(address, slot);
    }
  });
  CTN_ASSIGN(UniqueFd program, state.pins().open_prog("s_unseen"));
  for (const auto& [address, slot] : members) {
    CTN_ASSIGN(std::uint32_t is, run_program(program, std::span(&address, 1), kAnyCpu));
    if (is != 0) unseen[slot]++;
  }
  return unseen;
}

Result<void> refuse_unseen(const State& state, Slot top, bool below) {
  CTN_ASSIGN(auto unseen, unseen_tasks(state, [&](Slot at) {
               return below ? tree::within(state, at, top) : at == top;
             }));
  std::uint64_t sum = 0;
  for (const auto& [slot, tasks] : unseen) sum += tasks;
  if (sum == 0) return {};
  return Error{
      EPERM,
      fmt::format("{} has {} task{} of another pid namespace, which cannot be seen from this "
                  "one: do this outside of it",
                  printable(tree::address_of(state, top)), sum, sum == 1 ? "" : "s")};
}

Result<void> refuse_unseen(const State& state, Exited exited) {
  CTN_ASSIGN(auto unseen, unseen_tasks(
                              state, [](Slot) { return true; }, exited));
  if (unseen.empty()) return {};
  auto [slot, tasks] = *unseen.begin();
  return Error{
      EPERM,
      fmt::format(
          "this concerns the tasks of all containers, and {} has {} of another pid namespace, "
          "which cannot be seen from this one: do this outside of it",
          printable(tree::address_of(state, slot)), tasks)};
}

}  // namespace ctnbpf
