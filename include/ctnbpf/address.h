/* Addresses of containers, `HIER:/path`, and the rules for names. */
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "ctnbpf/result.h"

namespace ctnbpf {

/* A parsed address. `hierarchy` is a hierarchy's name or that of a subsystem bound to it; `path` is
 * empty for the root. */
struct Address {
  std::string hierarchy;
  std::vector<std::string> path;

  std::string to_string() const;
};

/* Each name as it is or as printable() prints it. EINVAL: no `HIER:/` in front, or a part that breaks the
 * rules for names. */
Result<Address> parse_address(std::string_view text);

/* A container's name: 1-255 bytes, no '/', not '.' or '..', no control characters. EINVAL. */
Result<void> check_container_name(std::string_view name);

/* A hierarchy's name: 1-63 letters, digits, '_', '.' and '-', not starting with '-'. EINVAL. */
Result<void> check_hierarchy_name(std::string_view name);

/* Is there a character in it that a terminal obeys? */
bool has_control(std::string_view text);

/* `text` with control characters, those that turn a line round and invalid UTF-8 as \xNN and backslash
 * doubled: safe for a terminal and reversible. */
std::string printable(std::string_view text);

/* The text that printable() made this of; any other text is itself. So a name may be given as it is printed,
 * and one with a backslash (`dev-a\x2db`) as it is. */
std::string from_printable(std::string_view text);

/* For formats with escapes of their own: `text` itself where it is UTF-8 and from_printable() takes it for
 * itself, else printable(). So it is UTF-8, different texts stay different, and from_printable() gives
 * `text` back. */
std::string portable(std::string_view text);

/* printable() of a sentence with names that are printable already: it leaves backslashes alone. */
std::string harmless(std::string_view text);

}  // namespace ctnbpf
