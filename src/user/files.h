/* Files of a mount, and what is behind an errno of one. */
#pragma once

#include <string>
#include <vector>

#include "ctnbpf/result.h"

namespace ctnbpf::user {

struct Place;
struct Hierarchy;

/* The errno as the Error's code. */
Result<std::string> read_file(const std::string& path);
Result<std::string> read_file(const Place& place, const char* name);
/* One write. 0 or the errno. */
int write_file(const std::string& path, const std::string& text);
/* One write, and what is read after it. */
Result<std::string> ask_file(const std::string& path, const std::string& question);

/* The containers in one, by name. */
Result<std::vector<Place>> children(const Place& place);
/* It and all below, parents first. */
Result<std::vector<Place>> subtree(const Place& place);

/* What the server says of a request of this thread for `file` (as .errors calls it) that failed with `code`;
 * `otherwise` if it says nothing: the kernel itself has refused it. */
Error failure(const Hierarchy& hierarchy, const std::string& file, int code,
              const std::string& otherwise);

}  // namespace ctnbpf::user
