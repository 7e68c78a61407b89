#include "ctnbpf/address.h"

#include <fmt/format.h>

#include <algorithm>

#include "ctnbpf/abi.h"

namespace ctnbpf {
namespace {

bool is_control(unsigned char c) { return c < 0x20 || c == 0x7f; }

/* Is a C1 control (U+0080 to U+009F) at the start of `text`? Terminals obey them. */
bool is_c1(std::string_view text) {
  return text.size() > 1 && text[0] == '\xc2' && static_cast<unsigned char>(text[1]) >= 0x80 &&
         static_cast<unsigned char>(text[1]) < 0xa0;
}

/* Length of the valid UTF-8 sequence at the start of `text` (1-4), or 0. Controls count as invalid. */
std::size_t utf8_length(std::string_view text) {
  auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  unsigned char first = byte(0);
  if (first < 0x80) return is_control(first) ? 0 : 1;
  std::size_t length = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
  if (first < 0xc2 || first > 0xf4 || text.size() < length) return 0;
  for (std::size_t i = 1; i < length; i++)
    if ((byte(i) & 0xc0) != 0x80) return 0;
  if (is_c1(text)) return 0;
  if (first == 0xe0 && byte(1) < 0xa0) return 0;
  if (first == 0xed && byte(1) > 0x9f) return 0;
  if (first == 0xf0 && byte(1) < 0x90) return 0;
  if (first == 0xf4 && byte(1) > 0x8f) return 0;
  return length;
}

}  // namespace

bool has_control(std::string_view text) {
  for (std::size_t i = 0; i < text.size(); i++)
    if (is_control(static_cast<unsigned char>(text[i])) || is_c1(text.substr(i))) return true;
  return false;
}

std::string printable(std::string_view text) {
  auto plain = [](char c) { return c >= ' ' && c <= '~' && c != '\\'; };
  if (std::all_of(text.begin(), text.end(), plain)) return std::string(text);
  std::string out;
  while (!text.empty()) {
    std::size_t length = utf8_length(text);
    if (length == 0) {
      out += fmt::format("\\x{:02x}", static_cast<unsigned char>(text[0]));
      length = 1;
    } else if (text[0] == '\\') {
      out += "\\\\";
    } else {
      out += text.substr(0, length);
    }
    text.remove_prefix(length);
  }
  return out;
}

Result<void> check_container_name(std::string_view name) {
  auto bad = [&](std::string_view rule) {
    return Error{EINVAL,
                 fmt::format("container name '{}' {}", printable(name.substr(0, 80)), rule)};
  };
  if (name.empty()) return bad("is empty: a name has 1 to 255 bytes");
  if (name.size() > CTN_NAME_MAX)
    return bad(fmt::format("... has {} bytes: a name has at most {}", name.size(), CTN_NAME_MAX));
  if (name == "." || name == "..") return bad("is not allowed: choose another name");
  if (name.find('/') != std::string_view::npos) return bad("has a '/': names cannot hold one");
  if (has_control(name)) return bad("has a control character: use printable ones only");
  return {};
}

Result<void> check_hierarchy_name(std::string_view name) {
  auto plain = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '.' || c == '-';
  };
  bool good = !name.empty() && name.size() <= CTN_HIER_NAME_MAX && name[0] != '-';
  for (char c : name) good = good && plain(c);
  if (good) return {};
  return Error{EINVAL, fmt::format("hierarchy name '{}' is not valid: use 1 to {} letters, digits, "
                                   "'_', '.' or '-', not starting with '-'",
                                   printable(name.substr(0, 80)), CTN_HIER_NAME_MAX)};
}

Result<Address> parse_address(std::string_view text) {
  std::size_t colon = text.find(":/");
  if (colon == std::string_view::npos || colon == 0)
    return Error{EINVAL, fmt::format("address '{}' is not of the form HIER:/path, such as "
                                     "default:/ or numtasks:/build/42",
                                     printable(text.substr(0, 200)))};
  Address address{std::string(text.substr(0, colon)), {}};
  std::string_view rest = text.substr(colon + 2);
  while (!rest.empty()) {
    std::size_t slash = rest.find('/');
    std::string_view name = rest.substr(0, slash);
    rest = slash == std::string_view::npos ? std::string_view{} : rest.substr(slash + 1);
    if (name.empty()) continue; /* a doubled or a trailing slash */
    if (auto ok = check_container_name(name); !ok)
      return ok.error().within(fmt::format("address '{}'", printable(text.substr(0, 200))));
    address.path.emplace_back(name);
  }
  return address;
}

std::string Address::to_string() const {
  std::string out = hierarchy + ":";
  for (const std::string& name : path) out += "/" + name;
  return path.empty() ? out + "/" : out;
}

}  // namespace ctnbpf
