#include "plan.h"

#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <set>

#include "ctnbpf/membership.h"
#include "ctnbpf/attributes.h"
#include "ctnbpf/containers.h"
#include "schema.h"
#include "ctnbpf/address.h"

namespace ctnbpf::config {
namespace {

using Kind = Step::Kind;

class Planner {
 public:
  Planner(const Layout& now, View& machine, bool best_effort)
      : now_(now), machine_(machine), best_effort_(best_effort) {}

  Plan plan(const Layout& wanted, bool prune) {
    for (const Hierarchy& hierarchy : wanted.hierarchies) plan_hierarchy(hierarchy);
    for (const Hierarchy& hierarchy : wanted.hierarchies) plan_containers(hierarchy);
    for (const Hierarchy& hierarchy : wanted.hierarchies)
      if (prune) plan_removes(hierarchy);
    check_room();
    return std::move(plan_);
  }

 private:
  void complain(const Where& where, const Error& error) {
    plan_.errors.push_back(at(where, error));
  }

  void check_room() {
    const Step* first = nullptr;
    std::size_t hierarchies = 0;
    std::size_t containers = 0;
    for (const Step& step : plan_.steps) {
      hierarchies += step.kind == Kind::kMakeHierarchy ? 1 : 0;
      containers += step.kind == Kind::kMake ? 1 : 0;
      if (first == nullptr) first = &step;
    }
    if (auto ok = machine_.check_room(hierarchies, containers); !ok)
      complain({first->where.file, 0, 0}, ok.error());
  }

  void plan_hierarchy(const Hierarchy& wanted) {
    const Hierarchy* there = now_.find(wanted.name);
    if (there != nullptr) {
      if (wanted.subsystems && wanted.subsystems != there->subsystems)
        complain(wanted.where,
                 {EBUSY, fmt::format("hierarchy '{0}' is there with other subsystems ({1}), which "
                                     "cannot change while it is: `ctnbpf hierarchy destroy {0}` "
                                     "first",
                                     wanted.name, fmt::join(*there->subsystems, ","))});
      return;
    }
    if (!wanted.subsystems && !now_.hierarchies.empty()) {
      complain(
          wanted.where,
          {ENOENT, fmt::format("no hierarchy '{0}': [\"{0}:/\"] with `subsystems = [...]` makes "
                               "it",
                               wanted.name)});
      return;
    }
    Step step{.kind = Kind::kMakeHierarchy, .hierarchy = wanted.name, .where = wanted.where};
    step.subsystems = wanted.subsystems ? *wanted.subsystems : machine_.default_subsystems();
    for (const std::string& one : step.subsystems)
      for (const Hierarchy& other : now_.hierarchies)
        if (std::count(other.subsystems->begin(), other.subsystems->end(), one) != 0)
          complain(wanted.where,
                   {EBUSY, fmt::format("subsystem '{0}' is bound to hierarchy '{1}': `ctnbpf "
                                       "hierarchy destroy {1}` first",
                                       one, other.name)});
    plan_.steps.push_back(std::move(step));
  }

  static const Container* container_of(const Hierarchy* hierarchy, const Path& path) {
    if (hierarchy == nullptr) return nullptr;
    auto found = hierarchy->containers.find(path);
    return found == hierarchy->containers.end() ? nullptr : &found->second;
  }

  /* Some of a root's can be set only while nothing is below it. What is inherited is set before anything is
   * made below: so what is made has it, also if this is cut short and done again. */
  void plan_containers(const Hierarchy& wanted) {
    const Hierarchy* there = now_.find(wanted.name);
    auto is_early = [](const Path& path, const AttributeRef& one) {
      return is_inherited(one) || (path.empty() && one.attribute->on == On::kRoot);
    };
    for (const auto& [path, container] : wanted.containers) {
      if (!path.empty() && container_of(there, path) == nullptr)
        plan_.steps.push_back({.kind = Kind::kMake,
                               .hierarchy = wanted.name,
                               .path = path,
                               .where = container.where});
      plan_settings(wanted, there, path, container,
                    [&, &at = path](const AttributeRef& one) { return is_early(at, one); });
    }
    for (const auto& [path, container] : wanted.containers)
      plan_settings(wanted, there, path, container,
                    [&, &at = path](const AttributeRef& one) { return !is_early(at, one); });
  }

  template <typename Which>
  void plan_settings(const Hierarchy& hierarchy, const Hierarchy* there, const Path& path,
                     const Container& container, const Which& which) {
    const Container* now = container_of(there, path);
    for (const auto& [name, setting] : container.settings) {
      const AttributeRef* attribute = find_settable(name);
      if (!which(*attribute)) continue;
      std::string before = value_of(now, *attribute);
      if (setting.value == before && now != nullptr) continue;
      if (!best_effort_ && setting.value != "max" && setting.value != attribute->attribute->initial)
        if (auto ok = machine_.check_promise(*attribute); !ok) complain(setting.where, ok.error());
      plan_.steps.push_back({.kind = Kind::kSet,
                             .hierarchy = hierarchy.name,
                             .path = path,
                             .attribute = attribute,
                             .value = setting.value,
                             .before = before,
                             .of_new = now == nullptr,
                             .where = setting.where});
    }
  }

  /* Children before their parents; who has something left below stays. */
  void plan_removes(const Hierarchy& wanted) {
    const Hierarchy* there = now_.find(wanted.name);
    if (there == nullptr) return;
    std::set<Path> above_kept;
    for (auto one = there->containers.rbegin(); one != there->containers.rend(); ++one) {
      const Path& path = one->first;
      if (path.empty() || wanted.containers.contains(path)) continue;
      bool keep = one->second.users != 0 || above_kept.contains(path);
      if (keep) above_kept.insert(Path(path.begin(), path.end() - 1));
      plan_.steps.push_back(
          {.kind = keep ? Kind::kKeep : Kind::kRemove, .hierarchy = wanted.name, .path = path});
    }
  }

  const Layout& now_;
  View& machine_;
  bool best_effort_;
  Plan plan_;
};

std::string shown(const std::string& value) {
  return value.empty() ? "\"\"" : printable(from_printable(value));
}

class Executor {
 public:
  explicit Executor(Machine& machine) : machine_(machine) {}

  Result<Done> run(const Plan& plan) {
    std::vector<const Step*> later;
    for (const Step& step : plan.steps) {
      Result<void> done = make(step, later);
      if (!done) return taken_back(step, done.error());
    }
    if (const Step* stuck = set_all(std::move(later))) return taken_back(*stuck, refusal_);
    for (const Step& step : plan.steps) remove(step);
    return std::move(done_);
  }

 private:
  /* What is refused now may be taken once others are set. */
  Result<void> make(const Step& step, std::vector<const Step*>& later) {
    switch (step.kind) {
      case Kind::kMakeHierarchy:
        CTN_TRY(machine_.make_hierarchy(step.hierarchy, step.subsystems));
        did([this, &step] { return machine_.unmake_hierarchy(step.hierarchy); });
        break;
      case Kind::kMake:
        CTN_TRY(machine_.make(step.hierarchy, step.path));
        did([this, &step] { return machine_.unmake(step.hierarchy, step.path); });
        break;
      case Kind::kSet:
        if (auto ok = set(step, step.value); !ok) {
          if (is_inherited(*step.attribute)) return ok; /* it would come too late */
          later.push_back(&step);
        }
        break;
      case Kind::kRemove:
      case Kind::kKeep: break;
    }
    return {};
  }

  void did(std::function<Result<void>()> undo) {
    done_.changes++;
    undo_.push_back(std::move(undo));
  }

  Result<void> set(const Step& step, const std::string& value) {
    CTN_ASSIGN(std::string before, machine_.get(step.hierarchy, step.path, *step.attribute));
    if (before == value) return {};
    CTN_TRY(machine_.set(step.hierarchy, step.path, *step.attribute, value));
    did([this, &step, before] {
      return machine_.set(step.hierarchy, step.path, *step.attribute, before);
    });
    return {};
  }

  /* The first that cannot be set, or null. Rounds as long as one gets further; then those that are in each
   * other's way first become what they are in a new container, the lowest first. */
  const Step* set_all(std::vector<const Step*> left) {
    bool cleared = false;
    while (!left.empty()) {
      std::vector<const Step*> refused;
      for (const Step* step : left) {
        Result<void> done = set(*step, step->value);
        if (done) continue;
        if (refused.empty()) refusal_ = done.error();
        refused.push_back(step);
      }
      if (refused.size() == left.size()) {
        if (cleared) return refused.front();
        for (auto step = refused.rbegin(); step != refused.rend(); ++step)
          (void)set(**step, (*step)->attribute->attribute->initial);
        cleared = true;
      }
      left = std::move(refused);
    }
    return nullptr;
  }

  Error taken_back(const Step& step, const Error& why) {
    Error error = at(step.where, why);
    for (auto undo = undo_.rbegin(); undo != undo_.rend(); ++undo)
      if (auto done = (*undo)(); !done)
        error.what += fmt::format("; what was done before stays, as this was refused too: {}",
                                  done.error().what);
    return error;
  }

  void remove(const Step& step) {
    if (step.kind != Kind::kRemove && step.kind != Kind::kKeep) return;
    auto done = machine_.remove(step.hierarchy, step.path);
    if (done)
      done_.changes++;
    else
      done_.stayed.push_back(done.error().what);
  }

  Machine& machine_;
  std::vector<std::function<Result<void>()>> undo_;
  Error refusal_;
  Done done_;
};

}  // namespace

bool Plan::empty() const {
  return std::all_of(steps.begin(), steps.end(),
                     [](const Step& step) { return step.kind == Kind::kKeep; });
}

Plan make_plan(const Layout& wanted, const Layout& now, View& machine, bool prune,
               bool best_effort) {
  return Planner(now, machine, best_effort).plan(wanted, prune);
}

std::string describe(const Plan& plan) {
  std::string out;
  for (const Step& step : plan.steps) {
    std::string address = address_of(step.hierarchy, step.path);
    switch (step.kind) {
      case Kind::kMakeHierarchy:
        out += fmt::format(
            "+ {} subsystems = {}\n", address,
            step.subsystems.empty() ? "none" : fmt::format("{}", fmt::join(step.subsystems, ",")));
        break;
      case Kind::kMake: out += fmt::format("+ {}\n", address); break;
      case Kind::kSet:
        if (step.of_new)
          out +=
              fmt::format("+ {} {} = {}\n", address, step.attribute->full_name, shown(step.value));
        else
          out += fmt::format("~ {} {} = {} (was {})\n", address, step.attribute->full_name,
                             shown(step.value), shown(step.before));
        break;
      case Kind::kRemove: out += fmt::format("- {}\n", address); break;
      case Kind::kKeep: break;
    }
  }
  return out;
}

Result<Done> carry_out(const Plan& plan, Machine& machine) { return Executor(machine).run(plan); }

}  // namespace ctnbpf::config
