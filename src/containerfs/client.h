/* Who asks, as FUSE tells it, and what they may do. The kernel has checked the modes for who asks at the moment
 * (default_permissions); a descriptor handed on must give nobody more than they have, so a write is checked again,
 * for who opened the file and for who writes. */
#pragma once

#include <sys/types.h>

#include <vector>

#include "ctnbpf/abi.h"
#include "ctnbpf/ownership.h"
#include "ctnbpf/result.h"
#include "ctnbpf/state.h"

namespace ctnbpf::containerfs {

struct Client {
  pid_t thread = 0; /* as this process's pid namespace numbers it; 0: it has no number here */
  uid_t uid = 0;
  gid_t gid = 0;
  std::vector<gid_t> groups;
};

bool may_write(const Ownership& file, const Client& client);
/* Read and search a directory. */
bool may_look_into(const Ownership& dir, const Client& client);

/* May this client move these threads of one process to `target`? EACCES: the list of tasks is not theirs. EPERM:
 * one of `process`, all its threads, is somebody else's in part, so that it is not theirs as a whole; or one that is
 * to be moved is in a container that is not of the tree that was given to them: it would escape what binds it
 * there. */
Result<void> may_attach(const State& state, Slot target, const Client& client,
                        const std::vector<ctn_walk_task>& threads,
                        const std::vector<ctn_walk_task>& process);

}  // namespace ctnbpf::containerfs
