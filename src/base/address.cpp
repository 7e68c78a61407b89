#include "ctnbpf/address.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "ctnbpf/abi.h"

namespace ctnbpf {
namespace {

bool is_control(unsigned char c) { return c < 0x20 || c == 0x7f; }

/* Is a C1 control (U+0080 to U+009F) at the start of `text`? Terminals obey them. */
bool is_c1(std::string_view text) {
  return text.size() > 1 && text[0] == '\xc2' && static_cast<unsigned char>(text[1]) >= 0x80 &&
         static_cast<unsigned char>(text[1]) < 0xa0;
}

/* Length of the valid UTF-8 sequence at the start of `text` (1-4), or 0. */
std::size_t utf8_length(std::string_view text) {
  auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  unsigned char first = byte(0);
  if (first < 0x80) return 1;
  std::size_t length = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
  if (first < 0xc2 || first > 0xf4 || text.size() < length) return 0;
  for (std::size_t i = 1; i < length; i++)
    if ((byte(i) & 0xc0) != 0x80) return 0;
  if (first == 0xe0 && byte(1) < 0xa0) return 0;
  if (first == 0xed && byte(1) > 0x9f) return 0;
  if (first == 0xf0 && byte(1) < 0x90) return 0;
  if (first == 0xf4 && byte(1) > 0x8f) return 0;
  return length;
}

bool is_utf8(std::string_view text) {
  while (!text.empty()) {
    std::size_t length = utf8_length(text);
    if (length == 0) return false;
    text.remove_prefix(length);
  }
  return true;
}

/* What turns or breaks the line of whoever prints it: U+061C, U+200E, U+200F, U+2028 to U+202E and
 * U+2066 to U+2069. */
bool turns_the_line(std::string_view character) {
  if (character == "\xd8\x9c") return true;
  if (character.size() != 3 || character[0] != '\xe2') return false;
  auto last = static_cast<unsigned char>(character[2]);
  if (character[1] == '\x81') return last >= 0xa6 && last <= 0xa9;
  return character[1] == '\x80' && (last == 0x8e || last == 0x8f || (last >= 0xa8 && last <= 0xae));
}

/* What a terminal would obey, and what is not UTF-8, as \xNN for each byte. */
std::string escape(std::string_view text, std::string_view backslash) {
  std::string out;
  while (!text.empty()) {
    std::size_t length = utf8_length(text);
    std::string_view one = text.substr(0, std::max<std::size_t>(length, 1));
    if (one == "\\")
      out += backslash;
    else if (length != 0 && !is_control(static_cast<unsigned char>(one[0])) && !is_c1(one) &&
             !turns_the_line(one))
      out += one;
    else
      for (char c : one) out += fmt::format("\\x{:02x}", static_cast<unsigned char>(c));
    text.remove_prefix(one.size());
  }
  return out;
}

bool is_plain(std::string_view text) {
  return std::all_of(text.begin(), text.end(),
                     [](char c) { return c >= ' ' && c <= '~' && c != '\\'; });
}

}  // namespace

bool has_control(std::string_view text) {
  for (std::size_t i = 0; i < text.size(); i++)
    if (is_control(static_cast<unsigned char>(text[i])) || is_c1(text.substr(i))) return true;
  return false;
}

std::string printable(std::string_view text) {
  return is_plain(text) ? std::string(text) : escape(text, "\\\\");
}

std::string harmless(std::string_view text) { return escape(text, "\\"); }

std::string from_printable(std::string_view text) {
  if (text.find('\\') == std::string_view::npos) return std::string(text);
  std::string out;
  for (std::string_view rest = text; !rest.empty();) {
    unsigned char byte = 0;
    std::size_t length = 1;
    if (rest.starts_with("\\x") && rest.size() >= 4 &&
        std::from_chars(rest.data() + 2, rest.data() + 4, byte, 16).ptr == rest.data() + 4) {
      out += static_cast<char>(byte);
      length = 4;
    } else {
      out += rest[0];
      if (rest.starts_with("\\\\")) length = 2;
    }
    rest.remove_prefix(length);
  }
  return printable(out) == text ? out : std::string(text);
}

std::string portable(std::string_view text) {
  if (is_plain(text) || (is_utf8(text) && from_printable(text) == text)) return std::string(text);
  return printable(text);
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
                                     "default:/ or batch:/build/42",
                                     printable(text.substr(0, 200)))};
  Address address{std::string(text.substr(0, colon)), {}};
  std::string_view rest = text.substr(colon + 2);
  while (!rest.empty()) {
    std::size_t slash = rest.find('/');
    std::string_view name = rest.substr(0, slash);
    rest = slash == std::string_view::npos ? std::string_view{} : rest.substr(slash + 1);
    if (name.empty()) continue; /* a doubled or a trailing slash */
    address.path.push_back(from_printable(name));
    if (auto ok = check_container_name(address.path.back()); !ok)
      return ok.error().within(fmt::format("address '{}'", harmless(text.substr(0, 200))));
  }
  return address;
}

std::string Address::to_string() const {
  std::string out = hierarchy + ":";
  for (const std::string& name : path) out += "/" + name;
  return path.empty() ? out + "/" : out;
}

}  // namespace ctnbpf
