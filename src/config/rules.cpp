#include "rules.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "ctnbpf/address.h"

namespace ctnbpf::config {
namespace {

constexpr std::string_view kTemplates = "uUgGpP%";

Error bad(const std::string& key, const std::string& value, const std::string& cure) {
  return {EINVAL, fmt::format("{} cannot be '{}': {}", key, printable(value.substr(0, 80)), cure)};
}

/* A uid or gid, or nothing. */
std::optional<std::uint32_t> number(std::string_view text) {
  std::uint32_t out = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out);
  bool good =
      error == std::errc() && end == text.data() + text.size() && !text.empty() && out != ~0U;
  return good ? std::optional(out) : std::nullopt;
}

Result<void> normalise_user(std::string& user) {
  if (user.empty() || user == "*") return {};
  if (has_control(user) || user == "@" || user.find_first_of(":/ \t") != std::string::npos)
    return bad("user", user, "use a name, @GROUP, a uid, FIRST-LAST or *");
  if (user[0] < '0' || user[0] > '9') return {};
  std::size_t dash = user.find('-');
  auto first = number(std::string_view(user).substr(0, dash));
  auto last = dash == std::string::npos ? first : number(std::string_view(user).substr(dash + 1));
  if (!first || !last) {
    /* `7zip` is a name; `1000-` is none that anybody has. */
    if (user.find_first_not_of("0123456789-") != std::string::npos) return {};
    return bad("user", user, "use a uid or FIRST-LAST, from 0 to 4294967294");
  }
  if (*first > *last) return bad("user", user, "the range runs backwards");
  user = first == last ? fmt::format("{}", *first) : fmt::format("{}-{}", *first, *last);
  return {};
}

Result<void> normalise_program(const std::string& program) {
  if (program.empty() || program[0] == '/') {
    if (!has_control(program) && !program.ends_with('/')) return {};
  } else if (!has_control(program) && program.find('/') == std::string::npos) {
    return {};
  }
  return bad("program", program, "use a path from / on, or a name without '/'");
}

Result<void> normalise_cgroup(std::string& cgroup) {
  if (cgroup.empty()) return {};
  Error wrong = bad("cgroup", cgroup,
                    "use its path from / on, as /proc/PID/cgroup shows it, without '.' and '..'");
  if (cgroup[0] != '/' || has_control(cgroup)) return wrong;
  std::string out;
  for (std::size_t begin = 0; begin < cgroup.size();) {
    std::size_t end = std::min(cgroup.find('/', begin), cgroup.size());
    std::string part = cgroup.substr(begin, end - begin);
    if (part == "." || part == "..") return wrong;
    if (!part.empty()) out += "/" + part;
    begin = end + 1;
  }
  cgroup = out.empty() ? "/" : out;
  return {};
}

Result<void> check_templates(const std::string& address) {
  for (std::size_t i = 0; i < address.size(); i++) {
    if (address[i] != '%') continue;
    if (i + 1 == address.size() || kTemplates.find(address[i + 1]) == std::string_view::npos)
      return bad("to", address, "after a % there is one of u U g G p P, or a second %");
    i++;
  }
  return {};
}

Result<void> normalise_to(std::vector<std::string>& to) {
  std::vector<std::string> hierarchies;
  for (std::string& one : to) {
    auto address = parse_address(one);
    if (!address) return address.error().within("to");
    if (address->hierarchy != "*")
      if (auto ok = check_hierarchy_name(address->hierarchy); !ok) return ok.error().within("to");
    one = address_of(address->hierarchy, address->path);
    CTN_TRY(check_templates(one));
    if (std::find(hierarchies.begin(), hierarchies.end(), address->hierarchy) != hierarchies.end())
      return bad("to", one,
                 fmt::format("there is another container of '{}' in it, and a process is in one "
                             "container of each hierarchy",
                             address->hierarchy));
    hierarchies.push_back(address->hierarchy);
  }
  return {};
}

}  // namespace

Result<void> normalise(Rule& rule) {
  if (rule.user.empty() && rule.cgroup.empty())
    return Error{EINVAL, "the rule fits nobody: give it `user` (\"*\" is everybody) or `cgroup`"};
  CTN_TRY(normalise_user(rule.user));
  CTN_TRY(normalise_program(rule.program));
  CTN_TRY(normalise_cgroup(rule.cgroup));
  CTN_TRY(normalise_to(rule.to));
  if (rule.ignore && !rule.to.empty())
    return Error{
        EINVAL, "`ignore = true` leaves processes where they are, and `to` does not: take one out"};
  if (!rule.ignore && rule.to.empty())
    return Error{EINVAL,
                 "the rule leads nowhere: give it `to = [ADDRESS, ...]` or `ignore = true`"};
  return {};
}

}  // namespace ctnbpf::config
