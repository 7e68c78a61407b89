#include "ctnbpf/ownership.h"

#include <fmt/format.h>
#include <grp.h>
#include <pwd.h>

#include <charconv>

#include "ctnbpf/address.h"

namespace ctnbpf {
namespace {

constexpr mode_t kDirectoryMode = 0755;
constexpr mode_t kFileMode = 0644;
constexpr mode_t kPermissions = 01777;

std::uint64_t packed(uid_t uid, gid_t gid) { return std::uint64_t{gid} << 32 | uid; }

Ownership unpacked(std::uint64_t owner, std::uint16_t mode) {
  return {static_cast<uid_t>(owner), static_cast<gid_t>(owner >> 32), mode};
}

/* Numbers up to the last that is no "leave it as it is". */
std::optional<std::uint32_t> number_in(std::string_view text) {
  std::uint32_t number = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  bool whole = error == std::errc() && end == text.data() + text.size();
  return whole && number != ~0U ? std::optional(number) : std::nullopt;
}

Error unknown(const char* what, std::string_view name) {
  return {EINVAL, fmt::format("no {0} '{1}': give the name or number of a {0}, as USER[:GROUP]",
                              what, printable(name.substr(0, 80)))};
}

}  // namespace

void set_default_ownership(ctn_info& info) {
  info.owner = info.tasks_owner = packed(0, 0);
  info.mode = kDirectoryMode;
  info.tasks_mode = kFileMode;
}

Ownership directory_ownership(const State& state, Slot slot) {
  const ctn_info& info = state.infos()[slot];
  return unpacked(load(info.owner), load(info.mode));
}

Ownership tasks_ownership(const State& state, Slot slot) {
  const ctn_info& info = state.infos()[slot];
  return unpacked(load(info.tasks_owner), load(info.tasks_mode));
}

Ownership attributes_ownership(const State& state, Slot slot) {
  if (slot < CTN_MAX_HIER) return {0, 0, kFileMode};
  Slot parent = load(state.nodes()[slot].parent);
  if (parent >= state.infos().size()) return {0, 0, kFileMode};
  Ownership above = directory_ownership(state, parent);
  return {above.uid, above.gid, kFileMode};
}

void set_directory_owner(Writer& writer, Slot slot, uid_t uid, gid_t gid) {
  std::uint64_t owner = packed(uid, gid);
  store<__u64>(writer.infos()[slot].owner, owner);
}

void set_directory_mode(Writer& writer, Slot slot, mode_t mode) {
  store(writer.infos()[slot].mode, static_cast<__u16>(mode & kPermissions));
}

void set_tasks_owner(Writer& writer, Slot slot, uid_t uid, gid_t gid) {
  std::uint64_t owner = packed(uid, gid);
  store<__u64>(writer.infos()[slot].tasks_owner, owner);
}

void set_tasks_mode(Writer& writer, Slot slot, mode_t mode) {
  store(writer.infos()[slot].tasks_mode, static_cast<__u16>(mode & kPermissions));
}

Result<UserAndGroup> parse_owner(std::string_view text) {
  std::size_t colon = std::min(text.find(':'), text.size());
  std::string user(text.substr(0, colon));
  UserAndGroup who;
  if (auto number = number_in(user)) {
    who.uid = *number;
    if (const passwd* entry = ::getpwuid(*number); entry != nullptr) who.gid = entry->pw_gid;
  } else if (const passwd* found = ::getpwnam(user.c_str()); found != nullptr && !user.empty()) {
    who.uid = found->pw_uid;
    who.gid = found->pw_gid;
  } else {
    return unknown("user", user);
  }
  if (colon == text.size()) return who;
  std::string group(text.substr(colon + 1));
  if (auto number = number_in(group)) {
    who.gid = *number;
  } else if (const ::group* entry = ::getgrnam(group.c_str()); entry != nullptr && !group.empty()) {
    who.gid = entry->gr_gid;
  } else {
    return unknown("group", group);
  }
  return who;
}

void give_to(Writer& writer, Slot slot, const UserAndGroup& who) {
  set_tasks_owner(writer, slot, who.uid, who.gid.value_or(tasks_ownership(writer, slot).gid));
  set_directory_owner(writer, slot, who.uid,
                      who.gid.value_or(directory_ownership(writer, slot).gid));
}

}  // namespace ctnbpf
