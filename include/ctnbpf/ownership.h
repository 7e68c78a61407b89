/* Whose a container is: records that containerfs goes by, and nothing else does. The owner of the directory
 * may make, rename and remove containers in it and set their attributes; those of the container itself are
 * for the owner of the directory above. The owner of its lists of tasks may attach. */
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>
#include <string_view>

#include "ctnbpf/state.h"

namespace ctnbpf {

struct Ownership {
  uid_t uid = 0;
  gid_t gid = 0;
  mode_t mode = 0; /* permission bits */
};

Ownership directory_ownership(const State& state, Slot slot);
Ownership tasks_ownership(const State& state, Slot slot);
/* Of the container's attributes: the owner of the directory above it; of a root's: root. */
Ownership attributes_ownership(const State& state, Slot slot);

/* Each is one store. */
void set_directory_owner(Writer& writer, Slot slot, uid_t uid, gid_t gid);
void set_directory_mode(Writer& writer, Slot slot, mode_t mode);
void set_tasks_owner(Writer& writer, Slot slot, uid_t uid, gid_t gid);
void set_tasks_mode(Writer& writer, Slot slot, mode_t mode);

/* Root's, 0755 and 0644. */
void set_default_ownership(ctn_info& info);

struct UserAndGroup {
  uid_t uid = 0;
  std::optional<gid_t> gid; /* none: it stays what it is */
};
/* "USER[:GROUP]", by name or number; without a group it is the one the user logs in with. EINVAL. */
Result<UserAndGroup> parse_owner(std::string_view text);
/* Gives the directory and its lists of tasks to them. */
void give_to(Writer& writer, Slot slot, const UserAndGroup& who);

}  // namespace ctnbpf
