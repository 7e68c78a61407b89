/* From what there is to what there should be: the steps, and doing them, all or none. */
#pragma once

#include "machine.h"
#include "ctnbpf/attributes.h"

namespace ctnbpf::config {

struct Step {
  enum class Kind { kMakeHierarchy, kMake, kSet, kRemove, kKeep /* in use: not to be removed */ };
  Kind kind;
  std::string hierarchy;
  Path path = {};
  const AttributeRef* attribute = nullptr;
  std::string value = {}; /* the new one; of a hierarchy its subsystems */
  std::string before = {};
  bool of_new = false; /* the container is made by this plan */
  std::vector<std::string> subsystems = {};
  Where where = {};
};

struct Plan {
  std::vector<Step> steps; /* makes, sets, then removes */
  std::vector<Error> errors;

  bool empty() const;
};

/* What would have to be done. Errors: what can be known to be impossible without trying it. Nothing that a
 * layout does not speak of is changed; with `prune` empty containers that it does not have go, in the
 * hierarchies it names. */
Plan make_plan(const Layout& wanted, const Layout& now, View& machine, bool prune,
               bool best_effort);

/* One line a change: "+ default:/a", "~ default:/a numtasks.limit = 5 (was max)", "- default:/b". */
std::string describe(const Plan& plan);

struct Done {
  std::size_t changes = 0;
  std::vector<std::string> stayed; /* containers that were to be removed and are in use, and why */
};
/* Makes and sets everything, or takes back what it did and says what was refused and where that stands;
 * then removes what can be removed. Two settings that rule each other out half-way (a set of CPUs that moves
 * below one that does) are put in an order that the machine takes. */
Result<Done> carry_out(const Plan& plan, Machine& machine);

}  // namespace ctnbpf::config
