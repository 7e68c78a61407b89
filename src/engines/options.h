/* What engines take from people, in the words of `ctnbpf run`. */
#pragma once

#include <map>
#include <string>
#include <vector>

#include "ctnbpf/state.h"

namespace ctnbpf::engines {

/* "numtasks": "numtasks.limit", for each option of `run` that has a value. */
std::map<std::string, std::string> attributes_by_option();

/* Below which a container is made. Those that are named have to be there: ENOENT. None is: those of the name
 * `standard` below the root of each hierarchy that the settings speak of, made if `make`. */
Result<std::vector<Slot>> parents_of(Writer& writer, const std::vector<std::string>& named,
                                     const std::vector<std::string>& settings, const char* standard,
                                     bool make);

}  // namespace ctnbpf::engines
