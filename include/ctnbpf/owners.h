/* Processes that own transient containers (ctn_info), from any pid namespace. */
#pragma once

#include <cstdint>
#include <map>
#include <optional>

#include "ctnbpf/membership.h"
#include "ctnbpf/containers.h"
#include "ctnbpf/tree.h"
#include "ctnbpf/pins.h"

namespace ctnbpf {

/* This process. */
Result<tree::Owner> this_owner(const Pins& pins);

/* In a pid namespace it looks at all tasks once, so it is for one look at all containers. */
class Owners {
 public:
  explicit Owners(const Pins& pins) : pins_(pins) {}

  /* Is it gone? One that cannot be seen from this pid namespace may be there. */
  bool gone(const ctn_info& info) const;
  /* Its number in this pid namespace, 0 if that knows none. */
  pid_t number(const ctn_info& info);

 private:
  const Pins& pins_;
  std::optional<std::map<std::uint32_t, ctn_walk_task>> seen_; /* by global number */
};

}  // namespace ctnbpf
