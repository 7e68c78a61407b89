/* What somebody wants mounted, as `ctnbpf mount` and mount(8)'s helpers say it. */
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "ctnbpf/result.h"
#include "ctnbpf/pins.h"

namespace ctnbpf::containerfs {

struct Request {
  std::string pin_root = kDefaultPinRoot;
  std::string dir;
  std::string hierarchy; /* a name, or empty */
  std::vector<std::string> subsystems;
  bool all = false;    /* every hierarchy, each a directory */
  bool cpuset = false; /* as the cpuset file system */
  bool prefix = true;
  bool libcgroup = false;
  bool read_only = false;
  bool foreground = false;
};

/* Takes `words`, an argument of -o. EINVAL: one that is neither a subsystem nor an option. */
Result<void> take_options(Request& request, std::string_view words);

/* `argv` of mount.container or mount.cpuset: SOURCE DIR [-sfnv] [-o WORD,...] [-t TYPE]; a source of "none", or
 * of the type's name, names no hierarchy. */
Result<Request> parse_helper(int argc, char** argv, bool cpuset);

}  // namespace ctnbpf::containerfs
