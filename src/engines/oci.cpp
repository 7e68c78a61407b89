#include "oci.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <sstream>

#include "ctnbpf/address.h"
#include "ctnbpf/nearest.h"
#include "options.h"

namespace ctnbpf::oci {
namespace {

constexpr std::string_view kPrefix = "ctnbpf.";
constexpr std::string_view kSet = "ctnbpf.set.";
constexpr std::string_view kContainer = "ctnbpf.container";
constexpr std::string_view kBestEffort = "ctnbpf.best-effort";

Error wrong(const std::string& what) {
  return {EINVAL, fmt::format("the container's state on standard input {}: this command is for an "
                              "OCI runtime, as a hook",
                              what)};
}

/* "ctnbpf.numtasks": "numtasks.limit", as `run` has it. */
std::map<std::string, std::string> by_annotation() {
  std::map<std::string, std::string> out;
  for (const auto& [option, attribute] : engines::attributes_by_option())
    out[std::string(kPrefix) + option] = attribute;
  return out;
}

Result<bool> parse_flag(const std::string& name, const std::string& value) {
  if (value == "true" || value == "1") return true;
  if (value == "false" || value == "0") return false;
  return Error{EINVAL, fmt::format("annotation '{}': '{}' is neither true nor false", name,
                                   printable(value))};
}

}  // namespace

Result<State> parse_state(const std::string& json) {
  auto parsed = nlohmann::json::parse(json, nullptr, false);
  if (!parsed.is_object()) return wrong("is no JSON object");
  State state;
  if (!parsed.contains("id") || !parsed["id"].is_string()) return wrong("has no `id`");
  state.id = parsed["id"];
  if (!parsed.contains("status") || !parsed["status"].is_string()) return wrong("has no `status`");
  state.stopped = parsed["status"] == "stopped";
  if (parsed.contains("pid")) {
    if (!parsed["pid"].is_number_integer()) return wrong("has a `pid` that is no number");
    state.pid = parsed["pid"];
  }
  if (!state.stopped && state.pid <= 0) return wrong("has no `pid`");
  if (!parsed.contains("annotations") || parsed["annotations"].is_null()) return state;
  if (!parsed["annotations"].is_object()) return wrong("has `annotations` that are no object");
  for (const auto& [name, value] : parsed["annotations"].items()) {
    if (!std::string_view(name).starts_with(kPrefix)) continue;
    if (!value.is_string())
      return wrong(fmt::format("has an annotation '{}' that is no text", printable(name)));
    state.annotations[name] = value;
  }
  return state;
}

Result<Wish> wish_of(const std::map<std::string, std::string>& annotations) {
  const auto options = by_annotation();
  Wish wish;
  for (const auto& [name, value] : annotations) {
    if (name == kBestEffort) {
      CTN_ASSIGN(wish.best_effort, parse_flag(name, value));
    } else if (name == kContainer) {
      std::istringstream words(value);
      for (std::string word; words >> word;) {
        CTN_TRY(parse_address(word));
        wish.parents.push_back(word);
      }
    } else if (auto option = options.find(name); option != options.end()) {
      wish.settings.push_back(option->second + "=" + value);
    } else if (name.starts_with(kSet)) {
      wish.settings.push_back(name.substr(kSet.size()) + "=" + value);
    } else {
      std::vector<std::string> known{std::string(kContainer), std::string(kBestEffort)};
      for (const auto& one : options) known.push_back(one.first);
      return Error{EINVAL,
                   fmt::format("annotation '{}' is unknown:{} `ctnbpf oci-hook --help` lists "
                               "them",
                               printable(name), did_you_mean(name, known))};
    }
  }
  return wish;
}

}  // namespace ctnbpf::oci
