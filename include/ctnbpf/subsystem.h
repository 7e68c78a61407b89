/* A subsystem: a client of the core that gives containers a meaning. The core knows none by name; it
 * walks the registry's table (subsystems/registry.cpp), as the kernel side calls them in table order.
 *
 * To add one: see CONTRIBUTING.md. */
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "ctnbpf/state.h"

namespace ctnbpf {

/* An attribute's value: a number in base units (CTN_UNLIMITED prints as `max`), or text. */
using Value = std::variant<std::uint64_t, std::string>;
std::string to_string(const Value& value);

/* A checked change, not yet made; making it cannot fail, nor can undoing it. */
class Change {
 public:
  template <typename Make>
  explicit Change(Make make) : make_(std::move(make)) {}
  Change(std::function<void()> make, std::function<void()> undo)
      : make_(std::move(make)), undo_(std::move(undo)) {}
  void make() const { make_(); }
  void undo() const {
    if (undo_) undo_();
  }

 private:
  std::function<void()> make_;
  std::function<void()> undo_; /* only for attributes of a subsystem that can `settle` */
};

/* The containers an attribute can be set on. */
enum class On : std::uint8_t { kAny, kRoot, kContainer };

/* What a setting comes to: attributes of the same subsystem, each with the text that stands for it. */
using NormalForm = std::vector<std::pair<std::string, std::string>>;

struct Attribute {
  const char* name; /* without the subsystem: "limit" */
  const char* help; /* one line, with the unit */
  Result<Value> (*read)(const State& state, Slot slot);
  /* Null: read-only. Checks `text` and returns the change; EINVAL/ERANGE name the rule. */
  Result<Change> (*prepare)(Writer& writer, Slot slot, const std::string& text) = nullptr;
  /* `run` takes the value by this option ("--numtasks"), if any. */
  const char* run_option = nullptr;
  /* The level that can keep a promise this attribute makes; setting it to anything but `max` on a
   * lower level is refused. */
  ctn_level needs = CTN_LEVEL_NONE;
  /* A number that a removed container's tombstone keeps, at this place for ever: 1 to 6; 0: it does
   * not. What `figures` says is kept anyway. */
  std::uint8_t kept = 0;
  /* `hierarchy create` takes the value by this option, for the root. */
  const char* hierarchy_option = nullptr;
  bool flag = false;        /* that option takes no value: it means 1 */
  bool nanoseconds = false; /* tables for people show seconds */

  /* --- of those that can be set: how a layout (src/config) knows them --- */
  On on = On::kAny;
  /* What it is in a new container, in the normal form. */
  const char* initial = "";
  /* The normal form of `text`, whatever the container has now; checks what needs no container. Null: the text
   * as it is. */
  Result<NormalForm> (*normal)(const std::string& text) = nullptr;
  /* What was set, in the normal form, where `read` shows what follows of it. */
  Result<Value> (*own)(const State& state, Slot slot) = nullptr;
  bool shorthand = false; /* sets others, and its normal form is those */
};

/* What `tree`, `stat` and `run --stat` show of a container: use, peak, limit, refusals. */
struct Figures {
  std::string_view noun; /* "tasks"; a literal */
  std::uint64_t current = 0;
  std::uint64_t peak = 0;
  std::uint64_t limit = CTN_UNLIMITED;
  std::uint64_t refused = 0; /* by this container's limit, here or below */
  /* Likewise by its rate, if there is such a thing. */
  std::optional<std::uint64_t> refused_by_rate = {};
  /* For tasks with CAP_SYS_ADMIN, where that is another limit. */
  std::optional<std::uint64_t> admin_limit = {};
};

/* What stands between a container and one thing more of a kind, for `explain`. */
struct Bound {
  std::string resource; /* of what: "tasks", "files" */
  std::string what;     /* "numtasks.limit" */
  Slot on;              /* the container that has it */
  std::uint64_t used = 0;
  std::uint64_t most = 0;
  std::uint64_t left =
      0; /* how many more; may be more than most - used, where some need not count */
  bool spares_admin = false; /* does not bind a task with CAP_SYS_ADMIN */
};

/* A task that is attached, and the container it was in before. */
struct Arrival {
  pid_t tid;
  Slot from;
  bool back = false; /* the attach was taken back: it is to be as it was before */
};

/* A table in the kernel of objects that are found by their address: the maps NAME_keys and NAME_records. */
struct KernelTable {
  const char* name; /* "file" */
  std::uint32_t record_size;
};

class Meter;   /* ctnbpf/meter.h */
class Loading; /* src/kernel/loading.h */

struct Subsystem {
  std::uint32_t id; /* index in core.bound; a constant of the shared header */
  const char* name;
  const char* help;
  std::span<const Attribute> attributes;
  /* Groups of hooks it needs while in use, as bits (1 << enum ctn_hooks); every hierarchy in use has
   * CTN_HOOKS_TASK anyway. */
  std::uint32_t hooks;
  /* The group whose level is the subsystem's, and the level at which it does anything at all. */
  ctn_hooks level_from;
  ctn_level minimum;

  /* Beside that of tasks, which all share. */
  std::span<const KernelTable> tables = {};

  bool needs(ctn_hooks group) const { return (hooks & (1U << group)) != 0; }

  /* The BPF object is about to be loaded: sizes the subsystem's arrays and sets its constants. Its tables are
   * sized by the core. */
  Result<void> (*load)(Loading& loading) = nullptr;
  /* Bound to a new hierarchy with this root. A failure undoes the making of the hierarchy. */
  Result<void> (*bind)(Writer& writer, Slot root) = nullptr;
  /* A new container, not yet visible. A failure undoes the creation. */
  Result<void> (*create)(Writer& writer, Slot slot) = nullptr;
  /* The container has been taken out of the tree; it may linger. */
  void (*removed)(Writer& writer, Slot slot) = nullptr;
  /* The container is gone for good; its slot is about to be free. */
  void (*destroy)(Writer& writer, Slot slot) = nullptr;
  /* May `tasks` tasks come into `slot`? The first refusal aborts the attach. */
  Result<void> (*can_attach)(const State& state, Slot slot, std::uint64_t tasks) = nullptr;
  Result<Figures> (*figures)(const State& state, Slot slot) = nullptr;
  /* The container that a task's record says it is charged to by this subsystem; 0: none. */
  Slot (*charged)(const ctn_task& task) = nullptr;
  /* Compares the subsystem's counters with what is counted; see fsck.h. `expected` is by slot the number of
   * task records `charged` there, not summed up the tree; empty without that. */
  Result<std::vector<std::string>> (*check)(const State& state,
                                            std::span<const std::uint64_t> expected) = nullptr;
  /* Mends what `check` finds, where that can be done; what was mended. */
  Result<std::vector<std::string>> (*repair)(Writer& writer) = nullptr;
  /* A writer was killed: puts right what it may have left half done. Before anything else is changed. */
  Result<void> (*mend)(Writer& writer) = nullptr;
  /* May tasks that are in the containers `from` come into `slot` without exceeding a limit? EAGAIN. */
  Result<void> (*within_limits)(const State& state, Slot slot,
                                std::span<const Slot> from) = nullptr;
  /* Every bound on a task of `slot`, its own container's first, then those above. */
  Result<std::vector<Bound>> (*bounds)(const State& state, Slot slot) = nullptr;
  /* No longer bound: the hierarchy is destroyed, or was not made after all. Not called where the
   * writer was killed, so `bind` sets every field. */
  void (*unbind)(Writer& writer, Slot root) = nullptr;
  /* These tasks have come to `slot`, or were there already and are attached again. A failure takes
   * the attach back: the tasks return to where they were, and the subsystems that had been called, the
   * one that failed too, are called for that container. */
  Result<void> (*attach)(Writer& writer, Slot slot, std::span<const Arrival> tasks) = nullptr;
  /* The attributes with a `kept` place of a container that no task is in any more, by place; read one
   * by one if this is null. For a subsystem that would read them all to read one. */
  void (*last_words)(const State& state, Slot slot, std::span<__u64> kept) = nullptr;
  /* More than `figures` has; see meter.h. */
  std::unique_ptr<Meter> (*meter)() = nullptr;
  /* What its references to a container are, in the plural ("open files"); null: it holds none. */
  const char* references = nullptr;
  /* How many it holds of each slot. */
  Result<std::vector<std::uint32_t>> (*references_held)(const State& state) = nullptr;
  /* The resource's name in /proc/user_beancounters, and of its refusals among a container's events; null: it has
   * none. */
  const char* beancounter = nullptr;
  const char* refusals = nullptr;
  /* May those tasks that `belongs` says are to come, come into `slot`? The first refusal aborts. */
  Result<void> (*admit)(const Writer& writer, Slot slot,
                        const std::function<bool(const ctn_walk_task&)>& belongs) = nullptr;
  /* Attributes of `slot` were set: has what follows from them done for the container and those below. The
   * machine may refuse that; then all is as it was once the changes are undone and this is called again. */
  Result<void> (*settle)(Writer& writer, Slot slot) = nullptr;
  /* Called for whatever changes something: the machine may have changed since. `interrupted`: a writer
   * was killed. What cannot be done is left to the next; an error is a trouble of the Writer's. */
  Result<void> (*refresh)(Writer& writer, bool interrupted) = nullptr;
  /* Everything is about to be taken down: the tasks are to be as if the subsystem never was. */
  Result<void> (*release)(Writer& writer) = nullptr;
  /* What is on the machine on its account, beside tasks, that no hierarchy needs any more; with `remove`
   * it goes. Asked whether it is bound or not. */
  Result<std::vector<std::string>> (*leftovers)(const State& state, bool remove) = nullptr;
  /* A command of `run` is in `slot`: what it has to be told before it is executed, or nothing; and what
   * its process, which has no more of us than that text, then does. */
  Result<std::string> (*before_exec)(const State& state, Slot slot) = nullptr;
  void (*in_command)(const std::string& told) = nullptr;
  /* A word or two for `tree` ("cpus 0-1"), of a root about the hierarchy; empty: nothing to tell. */
  Result<std::string> (*note)(const State& state, Slot slot) = nullptr;
  /* What its limits do not hold against where it is loaded like this, though its level says that they do:
   * one sentence, or none. */
  std::string (*caveat)(const State& state) = nullptr;
  /* What fsck should tell of, though nothing is wrong: a sentence each. */
  Result<std::vector<std::string>> (*remarks)(const State& state) = nullptr;
  /* How it does what it does, for `doctor`: a line each. */
  std::vector<std::string> (*ways)(const State* state) = nullptr;
};

/* The level a subsystem has where the groups of hooks have `levels`. */
inline std::uint32_t level_of(const Subsystem& subsystem,
                              std::span<const std::uint32_t, CTN_HOOKS_NR> levels) {
  std::uint32_t level = levels[subsystem.level_from];
  return level >= subsystem.minimum ? level : std::uint32_t{CTN_LEVEL_NONE};
}

/* Why a limit of the subsystem can be run over on this kernel, in one sentence; empty: it cannot. */
std::string caveat_of(const Subsystem& subsystem, const State& state);

/* All subsystems, in table order. */
std::span<const Subsystem* const> subsystems();
/* Those that are shipped, which are all but for the tests of this interface. */
std::span<const Subsystem* const> shipped_subsystems();
const Subsystem* find_subsystem(std::string_view name);
/* What `Subsystem::leftovers` of all of them has; with `remove` it goes. */
Result<std::vector<std::string>> leftovers(const State& state, bool remove);
/* Those bound to `hierarchy`, in table order. */
std::vector<const Subsystem*> bound_subsystems(const State& state, std::uint32_t hierarchy);
/* "cpuacct,numtasks", or "" */
std::string subsystem_list(const State& state, std::uint32_t hierarchy);
/* Of all that are shipped. */
std::vector<std::string> subsystem_names();

}  // namespace ctnbpf
