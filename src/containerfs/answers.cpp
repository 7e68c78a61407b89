#include "answers.h"

#include <fmt/format.h>

#include <cstring>
#include <iterator>
#include <sstream>

#include "ctnbpf/attributes.h"
#include "ctnbpf/address.h"
#include "ctnbpf/explain.h"
#include "ctnbpf/membership.h"
#include "ctnbpf/tree.h"
#include "stat_table.h"
#include "ctnbpf/namespaces.h"
#include "numbers.h"

namespace ctnbpf::containerfs {
namespace {

using Kind = metrics::StatColumn::Kind;

const char* name_of(Kind kind) {
  switch (kind) {
    case Kind::kNanoseconds: return "nanoseconds";
    case Kind::kPercent: return "percent";
    case Kind::kRate: return "rate";
    case Kind::kCount: break;
  }
  return "count";
}

/* Those below `top` whose directories the client may read and search, all the way. */
void add_seen(const State& state, Slot slot, const Client& client, std::vector<Slot>& found) {
  found.push_back(slot);
  if (!may_look_into(directory_ownership(state, slot), client)) return;
  for (Slot child : tree::children(state, slot)) add_seen(state, child, client, found);
}

/* In our numbers, the task that is asked for, if it is the client's: who has another's process looked at learns
 * paths that may be closed to it. */
Result<pid_t> task_asked_for(const State& state, const Question& question, const Client& opener) {
  pid_t meant = question.asker.thread;
  if (question.number != 0) {
    Numbers numbers = Numbers::of(question.asker.thread);
    std::vector<ctn_walk_task> all;
    if (!numbers.same()) {
      CTN_ASSIGN(all, walk_tasks(state.pins()));
    }
    meant = numbers.ours(question.number, all).value_or(0);
  }
  if (meant == 0)
    return Error{ESRCH, fmt::format("no process or thread {} in the pid namespace of who asks",
                                    question.number)};
  CTN_ASSIGN(ctn_walk_task task, live_task(state.pins(), meant));
  for (const Client* one : {&opener, &question.asker})
    if (one->uid != 0 && one->uid != task.uid)
      return Error{EPERM, fmt::format("process {} is not of user {}: only root may ask for it",
                                      question.number, one->uid)};
  return meant;
}

}  // namespace

std::string hierarchies_text(const State& state, const Style& style) {
  std::string text;
  for (std::uint32_t h = 0; h < CTN_MAX_HIER; h++) {
    if (!tree::hierarchy_active(state, h)) continue;
    std::string name = tree::hierarchy_name(state, h);
    if (!style.hierarchy.empty() && style.hierarchy != name) continue;
    text += fmt::format("{} {}", name, style.hierarchy.empty() ? name : ".");
    for (const Subsystem* one : bound_subsystems(state, h))
      text += fmt::format(" {} {}", one->name, level_of(*one, state.core().level));
    text += '\n';
  }
  return text;
}

Result<std::string> attributes_text(const State& state, Slot slot) {
  std::string text;
  for (const AttributeRef& ref : attributes_of(state, slot)) {
    CTN_ASSIGN(Value value, ref.attribute->read(state, slot));
    text += fmt::format("{} {} {}\n", ref.full_name,
                        std::holds_alternative<std::uint64_t>(value) ? "number" : "text",
                        printable(to_string(value)));
  }
  return text;
}

Result<std::string> stat_text(const State& state, Slot slot, const Client& client) {
  std::vector<Slot> slots;
  add_seen(state, slot, client, slots);
  metrics::Meters meters;
  CTN_TRY(meters.read(state));
  CTN_ASSIGN(metrics::StatTable table, metrics::make_stat(state, meters, slots));
  std::string text;
  for (const metrics::StatColumn& one : table.columns)
    fmt::format_to(std::back_inserter(text), "column {} {} {} {} {} {}\n", one.subsystem->name,
                   one.key, one.name, name_of(one.kind), one.collected ? 1 : 0, one.title);
  for (const metrics::StatRow& row : table.rows) {
    Slot of = table.slots[row.number];
    fmt::format_to(std::back_inserter(text), "container {}", live_tasks(state.nodes()[of]));
    for (std::size_t i = 0; i < table.columns.size(); i++) {
      const auto& value = table.at(row, i);
      text += value ? fmt::format(" {}", *value) : " -";
    }
    fmt::format_to(std::back_inserter(text), " {}\n", printable(table.container(row)));
    for (const Subsystem* subsystem : bound_subsystems(state, state.nodes()[of].hierarchy)) {
      if (subsystem->note == nullptr) continue;
      CTN_ASSIGN(std::string note, subsystem->note(state, of));
      fmt::format_to(std::back_inserter(text), "note {} {}\n", subsystem->name, printable(note));
    }
  }
  return text;
}

Result<std::string> exec_text(const State& state, Slot slot) {
  std::string text;
  for (const Subsystem* subsystem : bound_subsystems(state, state.nodes()[slot].hierarchy)) {
    if (subsystem->before_exec == nullptr) continue;
    CTN_ASSIGN(std::string told, subsystem->before_exec(state, slot));
    if (!told.empty()) text += fmt::format("{} {}\n", subsystem->name, told);
  }
  return text;
}

Result<Question> parse_question(const std::string& text, const Client& asker) {
  std::istringstream words(text);
  Question question = {0, asker};
  std::string more;
  if (words >> question.number && question.number >= 0 && !(words >> more)) return question;
  return Error{EINVAL, fmt::format("'{}' is not the number of a task: write one number, or 0 for "
                                   "the writer itself",
                                   printable(text.substr(0, 80)))};
}

Result<std::string> where_text(const State& state, const Question& question, const Client& opener) {
  CTN_ASSIGN(pid_t pid, task_asked_for(state, question, opener));
  CTN_ASSIGN(ctn_walk_task task, live_task(state.pins(), pid));
  std::string text;
  for (std::uint32_t h = 0; h < CTN_MAX_HIER; h++) {
    if (!tree::hierarchy_active(state, h)) continue;
    Slot slot = container_of(task, h);
    if (slot >= state.nodes().size()) slot = h;
    bool lingering = slot >= CTN_MAX_HIER && load(state.nodes()[slot].state) == CTN_REMOVED;
    text += fmt::format("{}{}:{}\n", tree::hierarchy_name(state, h), lingering ? "(removed)" : "",
                        printable(tree::path_of(state, slot)));
  }
  return text;
}

Result<std::string> explain_text(const State& state, const Question& question,
                                 const Client& opener) {
  CTN_ASSIGN(pid_t pid, task_asked_for(state, question, opener));
  CTN_ASSIGN(Explanation found, explain(state, pid));
  Numbers numbers = Numbers::of(question.asker.thread);
  auto theirs = [&](std::uint32_t number) {
    return numbers.theirs(static_cast<pid_t>(number)).value_or(0);
  };
  std::string text =
      fmt::format("{} {} {}\n", theirs(found.pid), theirs(found.tid), printable(found.comm));
  for (const BoundLine& one : found.bounds)
    fmt::format_to(std::back_inserter(text), "{} {} {} {} {} {}\n", one.resource, one.what,
                   one.used, one.most, one.left, printable(one.on));
  return text;
}

}  // namespace ctnbpf::containerfs
