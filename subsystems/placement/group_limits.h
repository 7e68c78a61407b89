/* What a control group does for those in it that they would be without elsewhere. */
#pragma once

#include <string>

namespace ctnbpf {

/* The first limit, weight, protection or program that binds the group at `path`, v2 or v1, or one above it below
 * `root`: "memory.max of '/jobs/a'". Empty: being in it means nothing. */
std::string limit_on(const std::string& root, const std::string& path);

}  // namespace ctnbpf
