/* Shares of numtasks: the containers' words, and bringing them into force while tasks run.
 *
 * A hierarchy without any share charges no words. When the first share is set the flag goes up, and
 * after a grace period every charge that is made is made in the words too, and says so in the task's
 * own word (NUMTASKS_SHARED). Then the charges made before are entered one by one: whoever changes
 * the task's word by exchange owns its charge, so a task that is reaped or moved meanwhile is neither
 * lost nor counted twice. Taking shares out of force is the same backwards.
 *
 * `changing` in the root's record is set meanwhile. The next writer finds it if this one is killed, and
 * takes shares out of force and brings them in anew (mend_shares). */
#include <fmt/format.h>

#include <algorithm>
#include <fstream>
#include <utility>

#include "ctnbpf/tree.h"
#include "ctnbpf/attributes.h"
#include "kernel/grace.h"
#include "kernel/mapping.h"
#include "numtasks/numtasks_parts.h"
#include "shares/shares.h"

namespace ctnbpf::numtasks {
namespace {

class Books final : public shares::Table {
 public:
  static Result<Books> open(Writer& writer) {
    CTN_ASSIGN(auto all, writer.records<numtasks_state>("numtasks"));
    CTN_ASSIGN(Mapping tasks,
               Mapping::open(writer.pins(), "task_records", sizeof(ctn_task), ~0U, true));
    return Books(writer, all, std::move(tasks));
  }

  ctn_shares& shares(Slot slot) override { return all_[slot].shares; }
  __u64& word(Slot slot) override { return all_[slot].share; }
  Slot parent(Slot slot) override { return slot < CTN_MAX_HIER ? slot : all_[slot].parent; }
  std::vector<Slot> children(Slot slot) override { return tree::children(writer_, slot); }
  void set_ceiling(Slot slot, std::uint32_t ceiling) override {
    store(all_[slot].shares.ceiling, ceiling);
    store(all_[slot].bound, static_cast<__u64>(bound_of(all_[slot])));
  }
  std::uint32_t total() override { return total_; }
  void settle() override { wait_for_programs(); }

  numtasks_state& at(Slot slot) { return all_[slot]; }
  Slot root_of(Slot slot) const { return writer_.nodes()[slot].hierarchy; }

  /* A change of what is set on `top`, and all that follows of it. */
  void change(Slot top, const std::function<void()>& set) {
    Slot root = root_of(top);
    begin(root);
    set();
    total_ = total_of(all_[root]);
    bool in_force = (all_[root].flags & NUMTASKS_SHARES) != 0;
    if (in_force && any(root))
      shares::recalculate(*this, total_ == all_[root].shares.guarantee ? top : root);
    else
      anew(root);
    store(all_[root].changing, 0U);
  }

  /* Nothing is guaranteed to a container that was removed. */
  void forsake(Slot slot) {
    Slot root = root_of(slot);
    begin(root);
    shares::forsake(*this, slot);
    if (!any(root)) anew(root);
    store(all_[root].changing, 0U);
  }

  /* After a writer was killed. False: there was nothing to do. */
  bool mend(Slot root) {
    if (all_[root].changing == 0 && whole(root)) return false;
    redo(root);
    return true;
  }

  void redo(Slot root) {
    begin(root);
    anew(root);
    store(all_[root].changing, 0U);
  }

 private:
  Books(Writer& writer, std::span<numtasks_state> all, Mapping tasks)
      : writer_(writer), all_(all), tasks_(std::move(tasks)) {}

  void begin(Slot root) { store(all_[root].changing, 1U); }

  /* Those in use in the hierarchy, the root first. */
  std::vector<Slot> slots(Slot root) const {
    std::vector<Slot> out{root};
    for (Slot slot = CTN_MAX_HIER; slot < writer_.core().high_slot; slot++)
      if (const ctn_node& node = writer_.nodes()[slot];
          node.hierarchy == root && node.state != CTN_FREE)
        out.push_back(slot);
    return out;
  }

  bool removed(Slot slot) const { return writer_.nodes()[slot].state == CTN_REMOVED; }

  /* Is there a share or an amount to share in this hierarchy? */
  bool any(Slot root) const {
    if (all_[root].total != 0) return true;
    for (Slot slot : slots(root))
      if (!removed(slot) &&
          (all_[slot].shares.min != CTN_DONT_CARE || all_[slot].shares.max != CTN_DONT_CARE))
        return true;
    return false;
  }

  /* Is each pool what the guarantees make it, and nothing guaranteed to who is not there? */
  bool whole(Slot root) const {
    if ((all_[root].flags & NUMTASKS_SHARES) == 0) return true;
    std::vector<std::uint64_t> given(all_.size());
    std::vector<Slot> those = slots(root);
    for (Slot slot : those) {
      if (slot == root) continue;
      if (removed(slot) && all_[slot].shares.guarantee != 0) return false;
      given[all_[slot].parent] += all_[slot].shares.guarantee;
    }
    return std::all_of(those.begin(), those.end(), [&](Slot slot) {
      return share_pool(load(all_[slot].share)) + given[slot] == all_[slot].shares.guarantee;
    });
  }

  /* From the settings and the tasks alone. */
  void anew(Slot root) {
    total_ = total_of(all_[root]);
    out_of_force(root);
    shares::recalculate(*this, root);
    if (any(root)) into_force(root);
  }

  void flag(Slot root, bool on) {
    for (Slot slot : slots(root)) {
      __u32 flags = all_[slot].flags & ~NUMTASKS_SHARES;
      store(all_[slot].flags, on ? flags | NUMTASKS_SHARES : flags);
    }
    wait_for_programs();
  }

  void into_force(Slot root) {
    flag(root, true);
    for (ctn_task& task : tasks_.as<ctn_task>()) enter(task.counted);
  }

  void enter(__u32& word) {
    __u32 slot = load(word);
    while (slot >= CTN_MAX_HIER && (slot & NUMTASKS_SHARED) == 0 && slot < all_.size()) {
      shares::charge(*this, slot, 1);
      __u32 seen = slot;
      if (__atomic_compare_exchange_n(&word, &seen, slot | NUMTASKS_SHARED, false, __ATOMIC_ACQ_REL,
                                      __ATOMIC_ACQUIRE))
        return;
      shares::charge(*this, slot, -1);
      slot = seen;
    }
  }

  void out_of_force(Slot root) {
    flag(root, false);
    for (ctn_task& task : tasks_.as<ctn_task>())
      __atomic_fetch_and(&task.counted, ~NUMTASKS_SHARED, __ATOMIC_ACQ_REL);
    wait_for_programs(); /* whoever still found the mark gives back now */
    for (Slot slot : slots(root)) {
      if (removed(slot)) all_[slot].shares.min = CTN_DONT_CARE;
      all_[slot].shares.guarantee = 0;
      store(all_[slot].share, __u64{0});
    }
  }

  Writer& writer_;
  std::span<numtasks_state> all_;
  Mapping tasks_;
  std::uint32_t total_ = 0;
};

Result<std::uint64_t> parse_total(const std::string& text) {
  CTN_ASSIGN(std::uint64_t total, parse_limit("numtasks.total_numtasks", text, kHighest));
  if (total == 0)
    return Error{
        EINVAL,
        fmt::format("numtasks.total_numtasks cannot be '0': use a number from 1 to {}, or 'max' "
                    "for the kernel's threads-max",
                    kHighest)};
  return total;
}

Error on(const Writer& writer, Slot slot, const Error& error) {
  return error.within(
      fmt::format("numtasks.shares of {}", printable(tree::address_of(writer, slot))));
}

}  // namespace

std::uint32_t total_of(const numtasks_state& root) {
  if (root.total != 0) return root.total;
  std::ifstream file("/proc/sys/kernel/threads-max");
  std::uint64_t most = 0;
  if (!(file >> most)) most = CTN_SHARES_HIGHEST;
  return static_cast<std::uint32_t>(std::min<std::uint64_t>(most, CTN_SHARES_HIGHEST));
}

Result<Value> read_shares(const State& state, Slot slot) {
  CTN_ASSIGN(auto all, states(state));
  return Value{shares::to_string(all[slot].shares)};
}

Result<Change> prepare_shares(Writer& writer, Slot slot, const std::string& text) {
  CTN_ASSIGN(Books books, Books::open(writer));
  ctn_shares& own = books.shares(slot);
  CTN_ASSIGN(ctn_shares wanted, shares::parse("numtasks.shares", text, own));
  if (slot < CTN_MAX_HIER && (wanted.min != CTN_DONT_CARE || wanted.max != CTN_DONT_CARE))
    return Error{EPERM, fmt::format("{} is a root and has no share of anything: set its "
                                    "child_shares_divisor or numtasks.total_numtasks",
                                    tree::address_of(writer, slot))};
  if (auto ok = shares::check(books, slot, wanted); !ok) return on(writer, slot, ok.error());
  auto kept = std::make_shared<Books>(std::move(books));
  return Change([kept, slot, wanted] {
    kept->change(slot, [&] {
      /* In the order that keeps min below max: each store may be the last of this process. */
      ctn_shares& shares = kept->shares(slot);
      bool raised = wanted.max > shares.max;
      store(raised ? shares.max : shares.min, raised ? wanted.max : wanted.min);
      store(raised ? shares.min : shares.max, raised ? wanted.min : wanted.max);
      store(shares.divisor, wanted.divisor);
    });
  });
}

Result<Value> read_total(const State& state, Slot slot) {
  CTN_ASSIGN(auto all, states(state));
  return Value{std::uint64_t{total_of(all[state.nodes()[slot].hierarchy % CTN_MAX_HIER])}};
}

Result<NormalForm> normal_shares(const std::string& text) {
  ctn_shares initial = {CTN_DONT_CARE, CTN_DONT_CARE, CTN_SHARES_DIVISOR, 0, CTN_DONT_CARE};
  CTN_ASSIGN(ctn_shares wanted, shares::parse("numtasks.shares", text, initial));
  return NormalForm{{"shares", shares::to_string(wanted)}};
}

Result<Value> own_total(const State& state, Slot slot) {
  CTN_ASSIGN(auto all, states(state));
  std::uint32_t own = all[state.nodes()[slot].hierarchy % CTN_MAX_HIER].total;
  return Value{own == 0 ? std::uint64_t{CTN_UNLIMITED} : std::uint64_t{own}};
}

Result<NormalForm> normal_total(const std::string& text) {
  CTN_ASSIGN(std::uint64_t total, parse_total(text));
  return NormalForm{{"total_numtasks", to_string(Value{total})}};
}

Result<Change> prepare_total(Writer& writer, Slot slot, const std::string& text) {
  CTN_ASSIGN(std::uint64_t total, parse_total(text));
  if (slot >= CTN_MAX_HIER)
    return Error{EPERM, fmt::format("total_numtasks belongs to the hierarchy: set it on {}:/",
                                    tree::hierarchy_name(writer, writer.nodes()[slot].hierarchy))};
  CTN_ASSIGN(Books books, Books::open(writer));
  auto kept = std::make_shared<Books>(std::move(books));
  return Change([kept, slot, total] {
    kept->change(slot, [&] {
      store(kept->at(slot).total, total == CTN_UNLIMITED ? 0 : static_cast<__u32>(total));
    });
  });
}

void give_shares_back(Writer& writer, Slot slot) {
  auto all = writer.records<numtasks_state>("numtasks");
  if (!all ||
      ((*all)[slot].shares.min == CTN_DONT_CARE && (*all)[slot].shares.max == CTN_DONT_CARE))
    return; /* nearly always; looked at before all tasks are mapped */
  auto books = Books::open(writer);
  if (!books) return; /* only with the pins of another version, which open() refuses */
  books->forsake(slot);
}

Result<bool> mend_shares(Writer& writer) {
  CTN_ASSIGN(Books books, Books::open(writer));
  return books.mend(writer.core().bound[CTN_NUMTASKS] - 1U);
}

Result<void> redo_shares(Writer& writer) {
  CTN_ASSIGN(Books books, Books::open(writer));
  books.redo(writer.core().bound[CTN_NUMTASKS] - 1U);
  return {};
}

}  // namespace ctnbpf::numtasks
