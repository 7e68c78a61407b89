/* attach --tree: a process and its descendants, against forks and deaths.
 *
 * Who is a descendant is known from two sources: the parents a walk over all tasks shows, and the
 * forks that newtask tells of while tree_watch is set. A child born before is found by the walk; one
 * born after is told, so it is known even if its parent ends before the walk comes to it and init
 * adopts it. Descendants once known stay known. Who is born in the target is there to stay and is not told of; a
 * child of one that is to be moved is to be moved itself from its birth on (t_newtask). Passes go on until one
 * moves nobody and nobody was told of by its end: then every descendant that could still fork was in the target
 * during that pass. So it ends however many are forked in there meanwhile. */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <fmt/format.h>

#include <map>
#include <memory>
#include <set>

#include "ctnbpf/membership.h"
#include "ctnbpf/attach.h"
#include "ctnbpf/tree.h"
#include "kernel/grace.h"
#include "base/urgent.h"
#include "tasks/moves.h"

namespace ctnbpf {
namespace {

using Pid = std::uint32_t; /* a global one, if nothing else is said: forks are told by those */

struct FreeRing {
  void operator()(ring_buffer* ring) const { ring_buffer__free(ring); }
};

/* Sets tree_watch for as long as it lives, and knows parents and children. */
class Lineage {
 public:
  static Result<std::unique_ptr<Lineage>> watch(Writer& writer) {
    std::unique_ptr<Lineage> made(new Lineage(writer));
    CTN_ASSIGN(UniqueFd map, writer.pins().open_map("forks"));
    made->ring_.reset(ring_buffer__new(
        map.get(),
        [](void* self, void* data, std::size_t) {
          const auto& fork = *static_cast<const ctn_fork*>(data);
          auto* lineage = static_cast<Lineage*>(self);
          lineage->add(fork.parent, fork.child);
          lineage->heard_++;
          return 0;
        },
        made.get(), nullptr));
    if (!made->ring_) return system_error("read the ring 'forks'");
    /* What an earlier watch left unread is dropped: those pids may be others now. */
    wait_for_programs();
    ring_buffer__consume(made->ring_.get());
    made->children_.clear();
    made->heard_ = load(writer.core().forks_told) - made->not_to_hear();
    store(writer.core().tree_watch, 1U);
    wait_for_programs(); /* now every fork sees it */
    return made;
  }
  ~Lineage() { store(writer_.core().tree_watch, 0U); }

  /* Hears of every fork that was counted before the call. The ring ends at a record that another CPU is
   * still writing, and a fork is counted a little before it is told of, so it may take several goes. */
  void listen() {
    std::uint64_t told = load(writer_.core().forks_told);
    ring_buffer__consume(ring_.get());
    while (heard_ + not_to_hear() < told) ring_buffer__poll(ring_.get(), 1 /* ms */);
  }
  void look(const std::vector<ctn_walk_task>& tasks) {
    for (const ctn_walk_task& task : tasks) add(task.global_ppid, task.global_tgid);
  }
  /* Adds to `known` all descendants of its members. */
  void close(std::set<Pid>& known) const {
    std::vector<Pid> todo(known.begin(), known.end());
    while (!todo.empty()) {
      auto found = children_.find(todo.back());
      todo.pop_back();
      if (found == children_.end()) continue;
      for (Pid child : found->second)
        if (known.insert(child).second) todo.push_back(child);
    }
  }

 private:
  explicit Lineage(Writer& writer) : writer_(writer) {}
  std::uint64_t not_to_hear() const {
    return load(writer_.core().forks_untold) + load(writer_.core().forks_inside);
  }
  void add(Pid parent, Pid child) { children_[parent].insert(child); }

  Writer& writer_;
  std::unique_ptr<ring_buffer, FreeRing> ring_;
  std::map<Pid, std::set<Pid>> children_;
  std::uint64_t heard_ = 0; /* forks, of those that core.forks_told counts */
};

/* The map `move_pids`; empty again at the end, but for children of a fork that is under way then. Each attach
 * begins with an empty one. */
class ChosenPids {
 public:
  explicit ChosenPids(UniqueFd map) : map_(std::move(map)) { clear(); }
  ChosenPids(const ChosenPids&) = delete;
  ChosenPids& operator=(const ChosenPids&) = delete;
  ~ChosenPids() { clear(); }

  Result<void> become(const std::set<Pid>& wanted) {
    for (Pid pid : wanted) {
      if (in_.contains(pid)) continue;
      std::uint8_t yes = 1;
      if (int err = bpf_map_update_elem(map_.get(), &pid, &yes, BPF_ANY); err != 0)
        return system_error(-err, "note which processes to move");
      in_.insert(pid);
    }
    return {};
  }

 private:
  /* Also what an earlier, killed one left. */
  void clear() {
    Pid key = 0;
    while (bpf_map_get_next_key(map_.get(), nullptr, &key) == 0)
      if (bpf_map_delete_elem(map_.get(), &key) != 0) return;
  }

  UniqueFd map_;
  std::set<Pid> in_;
};

/* The global number of the process that we know by this; none if there is none. */
std::set<Pid> known_as(const std::vector<ctn_walk_task>& tasks, Pid pid) {
  for (const ctn_walk_task& task : tasks)
    if (task.tgid == pid) return {task.global_tgid};
  return {};
}

/* `pid` and its descendants as one walk shows them. */
Result<std::set<Pid>> family_of(const Pins& pins, Pid pid) {
  CTN_ASSIGN(auto tasks, walk_tasks(pins));
  std::set<Pid> family = known_as(tasks, pid);
  for (std::size_t before = 0; before != family.size();) {
    before = family.size();
    for (const ctn_walk_task& task : tasks)
      if (family.contains(task.global_ppid)) family.insert(task.global_tgid);
  }
  return family;
}

}  // namespace

Result<AttachResult> attach_tree(Writer& writer, Slot slot, pid_t pid, Limits limits) {
  CTN_TRY(refuse_kthreadd(writer, slot, pid));
  std::set<Pid> family;
  if (limits == Limits::kWithin) {
    CTN_ASSIGN(family, family_of(writer.pins(), static_cast<Pid>(pid)));
  }
  CTN_TRY(ask_subsystems(writer, slot, limits, [&](const ctn_walk_task& task) {
    return family.contains(task.global_tgid);
  }));
  CTN_TRY(begin_move(writer, slot, 0, true));
  CTN_ASSIGN(UniqueFd map, writer.pins().open_map("move_pids"));
  ChosenPids chosen(std::move(map));
  std::uint64_t untold = load(writer.core().forks_untold);
  CTN_ASSIGN(auto lineage, Lineage::watch(writer));

  auto perhaps_missed = [&](std::uint64_t there) {
    return Error{
        EAGAIN,
        fmt::format("{} tasks of {} and its descendants are in {}; but this machine forked so "
                    "much that some may have been missed: attach it again",
                    there, pid, printable(tree::address_of(writer, slot)))};
  };
  constexpr int kMostPasses =
      64; /* where forks go unseen, each pass may meet new ones: the lock is held */
  std::set<Pid> known;
  Origins origins;
  bool any = false;
  Urgent urgent;
  for (int passes = 1;; passes++) {
    CTN_ASSIGN(auto tasks, walk_tasks(writer.pins()));
    lineage->listen();
    lineage->look(tasks);
    if (known.empty()) known = known_as(tasks, static_cast<Pid>(pid));
    lineage->close(known);
    CTN_TRY(chosen.become(known));
    CTN_ASSIGN(MovePass pass, move_pass(writer.pins(), 0, origins));
    if (pass.full) {
      CTN_TRY(tell_subsystems(writer, slot, origins));
      return no_room_for_tasks(writer, pid);
    }
    any = any || pass.there != 0;
    if (!any && pass.newborn == 0) return no_such_task(writer.pins(), pid, false);
    /* One that was outside may have forked after we listened and ended before the pass came to it. */
    lineage->listen();
    std::size_t heard_of = known.size();
    lineage->close(known);
    bool done = pass.moved == 0 && pass.newborn == 0 && known.size() == heard_of;
    if (!done && passes < kMostPasses) continue;
    CTN_TRY(tell_subsystems(writer, slot, origins));
    if (!done || load(writer.core().forks_untold) != untold) return perhaps_missed(pass.there);
    return AttachResult{pass.there, passes};
  }
}

}  // namespace ctnbpf
