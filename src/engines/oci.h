/* What an OCI runtime (runc, crun) tells its hooks, and what the annotations of a container ask of us. */
#pragma once

#include <sys/types.h>

#include <map>
#include <string>
#include <vector>

#include "ctnbpf/result.h"

namespace ctnbpf::oci {

/* The state on a hook's standard input, as far as we need it. */
struct State {
  std::string id;
  pid_t pid =
      0; /* of the container's first process, which has not run its program yet; 0: it is gone */
  bool stopped = false; /* poststop: else one of the hooks before the start */
  std::map<std::string, std::string> annotations; /* those whose name begins with "ctnbpf." */
};
/* EINVAL names what is missing or of another kind. */
Result<State> parse_state(const std::string& json);

struct Wish {
  std::vector<std::string> parents;  /* addresses; empty: the default ones */
  std::vector<std::string> settings; /* NAME=VALUE */
  bool best_effort = false;
  bool empty() const { return parents.empty() && settings.empty(); }
};
/* `ctnbpf.numtasks` and its like are the options of `run`; `ctnbpf.set.NAME` is any attribute;
 * `ctnbpf.container` the addresses below which the container is made, parted by blanks. EINVAL: an annotation that
 * means nothing, which would be a limit that does not hold. */
Result<Wish> wish_of(const std::map<std::string, std::string>& annotations);

}  // namespace ctnbpf::oci
