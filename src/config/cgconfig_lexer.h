/* The words of cgconfig.conf, as libcgroup's lex.l finds them. */
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "ctnbpf/result.h"

namespace ctnbpf::config {

struct Token {
  enum class Kind { kWord, kQuoted, kSign /* one of { } = ; */, kEnd };
  Kind kind;
  std::string text;
  std::uint32_t line;
};

/* All of them, the last is kEnd. `line` of a failure is in `failed_at`. A word is made of letters, digits and
 * _-/.,%@\ ; in quotes of anything but a quote, as there are no escapes. A comment begins with `#` or `*`
 * and is alone in its line. */
Result<std::vector<Token>> cgconfig_tokens(std::string_view text, std::uint32_t& failed_at);

}  // namespace ctnbpf::config
