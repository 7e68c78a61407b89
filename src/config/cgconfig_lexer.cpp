#include "cgconfig_lexer.h"

#include <fmt/format.h>

#include <algorithm>

#include "ctnbpf/address.h"

namespace ctnbpf::config {
namespace {

bool is_blank(char c) { return c == ' ' || c == '\t' || c == '\r'; }

bool is_word(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
         std::string_view("_-/.,%@\\").find(c) != std::string_view::npos;
}

}  // namespace

Result<std::vector<Token>> cgconfig_tokens(std::string_view text, std::uint32_t& failed_at) {
  std::vector<Token> out;
  std::uint32_t line = 1;
  bool fresh = true; /* nothing of this line yet */
  for (std::size_t i = 0; i < text.size();) {
    char c = text[i];
    if (c == '\n') {
      line++;
      fresh = true;
      i++;
    } else if (is_blank(c)) {
      i++;
    } else if (fresh && (c == '#' || c == '*')) {
      i = std::min(text.find('\n', i), text.size());
    } else if (std::string_view("{}=;").find(c) != std::string_view::npos) {
      out.push_back({Token::Kind::kSign, std::string(1, c), line});
      fresh = false;
      i++;
    } else if (c == '"') {
      std::size_t end = text.find('"', i + 1);
      failed_at = line;
      if (end == std::string_view::npos) return Error{EINVAL, "a quote is not closed"};
      std::string_view inner = text.substr(i + 1, end - i - 1);
      out.push_back({Token::Kind::kQuoted, std::string(inner), line});
      line += static_cast<std::uint32_t>(std::count(inner.begin(), inner.end(), '\n'));
      fresh = false;
      i = end + 1;
    } else if (is_word(c)) {
      std::size_t end = i;
      while (end < text.size() && is_word(text[end])) end++;
      out.push_back({Token::Kind::kWord, std::string(text.substr(i, end - i)), line});
      fresh = false;
      i = end;
    } else {
      failed_at = line;
      if (c == '#')
        return Error{
            EINVAL, "a comment has a line of its own: libcgroup does not take one after a setting"};
      return Error{EINVAL, fmt::format("'{}' cannot stand here: put values with it in quotes",
                                       printable(text.substr(i, 1)))};
    }
  }
  out.push_back({Token::Kind::kEnd, "", line});
  return out;
}

}  // namespace ctnbpf::config
