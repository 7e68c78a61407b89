/* numfiles: how many open files are charged to a container and all below it.
 *
 * An open file is a file description (struct file): one for open, socket, accept, eventfd, memfd and
 * their like, two for a pipe or socketpair; dup, fork and passing a descriptor make none. A running
 * program and what it has mapped are files too, and so are shared anonymous and System V memory. It is
 * charged where the task that opened it was at that moment, and stays charged there until the last
 * reference is gone, whoever holds it; until then it holds its container (`rm` says EBUSY).
 *
 * An open is refused with ENFILE when it would bring `held` of the container or of any ancestor above
 * its barrier; a task with CAP_SYS_ADMIN on the machine may go up to the limit. Both are `max` at
 * first, and barrier is never above limit. Lowering them is never refused: then opens fail until
 * enough is closed.
 * With flat=1 on the hierarchy's root, files opened from then on count in their own container only.
 * A root has no limit and shows the machine's files. */
#include "numfiles/numfiles_ops.h"

#include <unistd.h>

#include <array>
#include <fstream>
#include <map>
#include <set>

#include "kernel/iterators.h"
#include "ctnbpf/attributes.h"
#include "beancounter/beancounter_ops.h"
#include "kernel/object_table.h"
#include "kernel/loading.h"
#include "ctnbpf/pins.h"
#include "kernel/steady.h"
#include "tasks/moves.h"

namespace ctnbpf {
namespace {

struct Files {
  static constexpr std::uint32_t kId = CTN_NUMFILES;
  static constexpr const char* kName = "numfiles";
  static constexpr const char* kNoun = "files";
  static std::uint64_t machine() {
    std::ifstream file("/proc/sys/fs/file-nr");
    std::uint64_t allocated = 0;
    file >> allocated;
    return allocated;
  }
};
using Beans = BeanCounter<Files>;

constexpr std::array kAttributes = {
    Attribute{"held", "open files charged to the subtree now", Beans::read_held},
    Attribute{.name = "barrier",
              .help = "most files for ordinary tasks: max or a number; at most the limit",
              .read = Beans::read_ceiling<&beans_state::barrier>,
              .prepare = Beans::prepare_barrier,
              .needs = CTN_LEVEL_FALLBACK,
              .on = On::kContainer,
              .initial = "max",
              .normal = Beans::normal_barrier},
    Attribute{.name = "limit",
              .help = "most files for tasks with CAP_SYS_ADMIN: max or a number",
              .read = Beans::read_ceiling<&beans_state::limit>,
              .prepare = Beans::prepare_limit,
              .needs = CTN_LEVEL_FALLBACK,
              .on = On::kContainer,
              .initial = "max",
              .normal = Beans::normal_limit},
    Attribute{.name = "ceiling",
              .help = "barrier and limit in one: sets both; reads as the limit",
              .read = Beans::read_ceiling<&beans_state::limit>,
              .prepare = Beans::prepare_ceiling,
              .run_option = "--numfiles",
              .needs = CTN_LEVEL_FALLBACK,
              .on = On::kContainer,
              .initial = "max",
              .normal = Beans::normal_ceiling,
              .shorthand = true},
    Attribute{"maxheld", "most files the subtree ever held", Beans::read_maxheld},
    Attribute{"minheld", "fewest files the subtree ever held", Beans::read_minheld},
    Attribute{"failcnt", "opens refused to tasks of this very container, by any barrier or limit",
              Beans::read<&beans_state::failcnt>, nullptr, nullptr, CTN_LEVEL_NONE, 1},
    Attribute{"events", "opens refused by this container's barrier or limit, in it or below",
              Beans::read<&beans_state::events>},
    Attribute{.name = "flat",
              .help = "1: files count in their own container only, not in those above (of a root)",
              .read = Beans::read_flat,
              .prepare = Beans::prepare_flat,
              .on = On::kRoot,
              .initial = "0",
              .normal = Beans::normal_flat},
};

Result<std::vector<std::string>> check(const State& state, std::span<const std::uint64_t>) {
  CTN_ASSIGN(auto charged, charged_files(state));
  CTN_ASSIGN(auto expected, Beans::expected(state, charged));
  CTN_ASSIGN(auto all, Beans::states(state));
  CTN_ASSIGN(auto seen, walk_files(state.pins()));
  std::vector<std::string> found;
  for (const ctn_walk_file& file : seen)
    if (file.slot >= state.nodes().size() ||
        (file.slot != 0 && state.nodes()[file.slot].state == CTN_FREE))
      found.push_back(fmt::format("a file of process {} is charged to slot {}, which is not in use",
                                  file.tgid, file.slot));
  for (Slot slot = CTN_MAX_HIER; slot < all.size(); slot++) {
    const ctn_node& node = state.nodes()[slot];
    if (node.state == CTN_FREE || state.core().bound[CTN_NUMFILES] != node.hierarchy + 1) continue;
    auto complain = [&](const std::string& what) {
      found.push_back(fmt::format("{}: {}", printable(tree::address_of(state, slot)), what));
    };
    if (Beans::held_of(all[slot]) != expected[slot])
      complain(fmt::format("numfiles.held is {}, the table of files has {}",
                           Beans::held_of(all[slot]), expected[slot]));
    if (load(all[slot].barrier) > load(all[slot].limit))
      complain("numfiles.barrier is above numfiles.limit");
    if (all[slot].parent != node.parent) complain("numfiles has another parent than the tree");
  }
  return found;
}

/* How far each `held` is off, by slot. */
Result<std::vector<std::uint64_t>> differences(const State& state) {
  CTN_ASSIGN(auto charged, charged_files(state));
  CTN_ASSIGN(auto expected, Beans::expected(state, charged));
  CTN_ASSIGN(auto all, Beans::states(state));
  for (Slot slot = 0; slot < all.size(); slot++)
    expected[slot] = slot < CTN_MAX_HIER ? 0 : expected[slot] - Beans::held_of(all[slot]);
  return expected;
}

/* The table is what is true. What is off is added, as a store would lose what happens at the same
 * time. A barrier above its limit goes down to it. */
Result<std::vector<std::string>> repair(Writer& writer) {
  CTN_ASSIGN(auto steady, steady_differences<std::uint64_t>([&] { return differences(writer); }));
  CTN_ASSIGN(auto all, writer.records<beans_state>(Files::kName));
  std::vector<std::string> mended;
  for (Slot slot = CTN_MAX_HIER; slot < steady.size(); slot++) {
    if (writer.nodes()[slot].state == CTN_FREE) continue;
    std::string name = printable(tree::address_of(writer, slot));
    if (all[slot].parent != writer.nodes()[slot].parent) {
      store(all[slot].parent, writer.nodes()[slot].parent);
      mended.push_back(fmt::format("{}: numfiles has the parent of the tree now", name));
    }
    if (__u64 limit = load(all[slot].limit); load(all[slot].barrier) > limit) {
      store(all[slot].barrier, limit);
      mended.push_back(fmt::format("{}: numfiles.barrier is the limit now", name));
    }
    if (steady[slot] == 0) continue;
    __atomic_fetch_add(&all[slot].held, steady[slot], __ATOMIC_ACQ_REL);
    mended.push_back(fmt::format("{}: numfiles.held is {} now, as in the table of files", name,
                                 Beans::held_of(all[slot])));
  }
  return mended;
}

/* Are files refused as they are opened, since their allocation is closed to LSM programs? */
bool by_open_gate(const State& state) {
  return ::access(state.pins().prog("l_file_open").c_str(), F_OK) == 0;
}

std::string caveat(const State& state) {
  if (!by_open_gate(state)) return {};
  return "files, sockets, pipes and memory never pass it; an eventfd, epoll, timerfd, signalfd or inotify "
         "descriptor is always counted and can pass while three tasks are preempted in the middle of a "
         "refusal; O_PATH descriptors are not counted";
}

/* Descriptors of members whose file nobody is charged for. That is right for a file that was opened before
 * its process came in, or outside and passed on, so this is no problem; and no count says which is which. */
Result<std::vector<std::string>> remarks(const State& state) {
  CTN_ASSIGN(auto seen, run_iterator_as<ctn_walk_file>(state.pins(), "i_uncharged", 0));
  struct Found {
    std::set<std::uint64_t> files, paths;
  };
  std::map<Slot, Found> found;
  for (const ctn_walk_file& file : seen) {
    auto& [files, paths] = found[file.slot];
    (file.is_path != 0 ? paths : files).insert(file.file);
  }
  std::vector<std::string> said;
  for (const auto& [slot, one] : found) {
    std::string name = printable(tree::address_of(state, slot));
    if (!one.files.empty())
      said.push_back(fmt::format(
          "{}: its tasks have {} open file{} that nobody is charged for: opened before they came in, "
          "or passed to them, or (less likely) missed",
          name, one.files.size(), one.files.size() == 1 ? "" : "s"));
    if (!one.paths.empty())
      said.push_back(
          fmt::format("{}: its tasks have {} O_PATH descriptor{}, for which nobody is charged",
                      name, one.paths.size(), one.paths.size() == 1 ? "" : "s"));
  }
  return said;
}

}  // namespace

Result<std::vector<ctn_file>> charged_files(const State& state) {
  CTN_ASSIGN(ObjectTable files, ObjectTable::open(state.pins(), "file", sizeof(ctn_file), false));
  std::vector<ctn_file> found;
  files.each<ctn_file>([&](std::uint64_t, const ctn_file& file) {
    Slot slot = load(file.slot);
    __u32 mode = load(file.mode);
    if (slot != 0) found.insert(found.end(), 1 + ctn_file_more(mode), {slot, mode & BEANS_FLAT});
  });
  return found;
}

Result<std::vector<ctn_walk_file>> walk_files(const Pins& pins) {
  return run_iterator_as<ctn_walk_file>(pins, "i_files", 0);
}

bool charges_files(const State& state, std::uint32_t hierarchy) {
  return load(state.core().bound[CTN_NUMFILES]) == hierarchy + 1;
}

Result<std::vector<FileHolder>> file_holders(const Pins& pins) {
  CTN_ASSIGN(auto files, walk_files(pins));
  std::vector<FileHolder> holders;
  for (const ctn_walk_file& file : files)
    holders.push_back({file.tgid, file.tid, file.fd, file.slot, file.record,
                       std::string(file.comm, ::strnlen(file.comm, sizeof(file.comm)))});
  return holders;
}

Result<std::vector<Slot>> charged_to(const State& state) {
  CTN_ASSIGN(auto charged, charged_files(state));
  std::vector<Slot> slots;
  for (const ctn_file& file : charged) slots.push_back(file.slot);
  return slots;
}

namespace {

/* An entry of the table holds a reference, and each file of a pair does. */
Result<std::vector<std::uint32_t>> references_held(const State& state) {
  std::vector<std::uint32_t> sums(state.nodes().size());
  CTN_ASSIGN(auto charged, charged_to(state));
  for (Slot slot : charged)
    if (slot < sums.size()) sums[slot]++;
  return sums;
}

constexpr KernelTable kTables[] = {{"file", sizeof(ctn_file)}};

Result<void> load_arrays(Loading& loading) {
  const Levels& levels = loading.facts.levels;
  std::uint32_t level = levels.level[CTN_HOOKS_FILE];
  CTN_TRY(loading.size("numfiles", loading.facts.slots));
  CTN_TRY(loading.set("file_gate_can_skip",
                      levels.skips && levels.works("k_file_alloc") && level == CTN_LEVEL_FALLBACK));
  CTN_TRY(loading.set("files_are_reserved", numfiles_gate(levels) == FileGate::kOpen));
  return loading.set("file_entry_can_stay", level != CTN_LEVEL_STRICT);
}

}  // namespace

const Subsystem kNumfiles = {
    .id = CTN_NUMFILES,
    .name = Files::kName,
    .help = "how many files the tasks of a container and all below it may open",
    .attributes = kAttributes,
    .hooks = 1 << CTN_HOOKS_FILE | 1 << CTN_HOOKS_FILE_FREE,
    .level_from = CTN_HOOKS_FILE,
    .minimum = CTN_LEVEL_FALLBACK,
    .tables = kTables,
    .load = load_arrays,
    .bind = Beans::bind,
    .create = Beans::create,
    .destroy = nullptr,
    .can_attach = nullptr,
    .figures = Beans::figures,
    .check = check,
    .repair = repair,
    .bounds = Beans::bounds,
    .references = "open files",
    .references_held = references_held,
    .beancounter = "numfile",
    .refusals = "files_refused",
    .caveat = caveat,
    .remarks = remarks,
};

}  // namespace ctnbpf
