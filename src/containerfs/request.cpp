#include "request.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "ctnbpf/address.h"
#include "ctnbpf/nearest.h"
#include "ctnbpf/subsystem.h"

namespace ctnbpf::containerfs {
namespace {

/* Options of any mount, which mean nothing here or are for others: mount(8), systemd. */
bool is_of_any_mount(std::string_view word) {
  constexpr std::array kWords = {"rw",       "defaults",   "auto",       "noauto", "user",
                                 "nouser",   "users",      "_netdev",    "nofail", "suid",
                                 "nosuid",   "dev",        "nodev",      "exec",   "noexec",
                                 "async",    "sync",       "relatime",   "atime",  "noatime",
                                 "diratime", "nodiratime", "norelatime", "silent", "loud"};
  return std::find(kWords.begin(), kWords.end(), word) != kWords.end() || word.starts_with("x-") ||
         word.starts_with("X-") || word.starts_with("comment=");
}

Result<void> take_option(Request& request, const std::string& word) {
  if (word == "noprefix") {
    request.prefix = false;
  } else if (word == "libcgroup") {
    request.libcgroup = true;
  } else if (word == "ro") {
    request.read_only = true;
  } else if (word.starts_with("bpffs=")) {
    request.pin_root = word.substr(6);
    if (request.pin_root.empty())
      return Error{EINVAL, "bpffs= names no directory: give one on a BPF file system"};
  } else if (find_subsystem(word) != nullptr) {
    auto& all = request.subsystems;
    if (std::find(all.begin(), all.end(), word) == all.end()) all.push_back(word);
  } else if (!word.empty() && !is_of_any_mount(word)) {
    std::vector<std::string> known = subsystem_names();
    known.insert(known.end(), {"noprefix", "libcgroup", "ro"});
    return Error{EINVAL,
                 fmt::format("unknown option '{}':{} give subsystems, noprefix, libcgroup or ro",
                             printable(word.substr(0, 80)), did_you_mean(word, known))};
  }
  return {};
}

}  // namespace

Result<void> take_options(Request& request, std::string_view words) {
  while (!words.empty()) {
    std::size_t comma = std::min(words.find(','), words.size());
    CTN_TRY(take_option(request, std::string(words.substr(0, comma))));
    words.remove_prefix(std::min(comma + 1, words.size()));
  }
  return {};
}

Result<Request> parse_helper(int argc, char** argv, bool cpuset) {
  Request request;
  request.cpuset = cpuset;
  std::vector<std::string> places;
  for (int i = 1; i < argc; i++) {
    std::string word = argv[i];
    if (word == "-o" || word == "-t" || word == "-N") {
      if (++i == argc) return Error{EINVAL, fmt::format("{} needs a value", word)};
      if (word == "-o") CTN_TRY(take_options(request, argv[i]));
    } else if (word.size() > 1 && word[0] == '-') {
      if (std::size_t bad = word.find_first_not_of("sfnv", 1); bad != std::string::npos)
        return Error{EINVAL, fmt::format("unknown option '{}': use SOURCE DIR [-o WORD,...]",
                                         printable(word))};
    } else {
      places.push_back(word);
    }
  }
  if (places.size() != 2 || places[1].empty())
    return Error{EINVAL, "it takes two arguments: SOURCE DIR [-o WORD,...]"};
  const char* type = cpuset ? "cpuset" : "container";
  if (places[0] != "none" && places[0] != type) request.hierarchy = places[0];
  request.dir = places[1];
  if (cpuset && !request.subsystems.empty())
    return Error{EINVAL, "cpuset takes no subsystems: it is cpuset and memset"};
  return request;
}

}  // namespace ctnbpf::containerfs
