#include "context.h"

#include <fmt/format.h>

#include <charconv>
#include <nlohmann/json.hpp>

#include "ctnbpf/address.h"
#include "ctnbpf/levels.h"
#include "loader.h"

namespace ctnbpf::cli {
namespace {

std::string errno_name(int code) {
  const char* name = ::strerrorname_np(code);
  return name != nullptr ? name : fmt::format("E{}", code);
}

}  // namespace

void note(const std::string& message) { fmt::print(stderr, "ctnbpf: {}\n", message); }

void report(const Context& context, const Error& error) {
  if (context.json) {
    nlohmann::ordered_json json;
    json["error"]["code"] = errno_name(error.code);
    json["error"]["message"] = error.what;
    print_json(json);
  }
  note(error.what);
  if (context.verbose && !error.detail.empty()) fmt::print(stderr, "{}", error.detail);
}

Error with_cure(const Error& error) {
  if (error.code != ENOTSUP) return error;
  auto levels = probe_levels();
  if (!levels) return error;
  std::string why;
  for (const ProbedHook& hook : levels->hooks)
    if (!hook.works && std::string_view(hook.program).ends_with("task_alloc"))
      why += fmt::format("{}{}: {}", why.empty() ? "" : "; ", hook.hook, hook.reason);
  std::string cure = cure_for(*levels, kernel_facts());
  Error more = error;
  if (!why.empty()) more.what += fmt::format(" ({})", why);
  if (!cure.empty()) more.what += "; cure: " + cure;
  more.what += "; --best-effort sets it all the same";
  return more;
}

int fail(const Context& context, const Error& error) {
  report(context, error);
  return error.code == ENOTSUP ? kKernelLacks : kFailed;
}

void print_json(const nlohmann::ordered_json& json) {
  /* Names are bytes: what is not UTF-8 is replaced rather than refused. */
  fmt::print("{}\n", json.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace));
}

int for_each(const Context& context, const std::vector<std::string>& items,
             const std::function<Result<void>(const std::string&)>& one) {
  int code = kDone;
  for (const std::string& item : items)
    if (auto ok = one(item); !ok) {
      int failed = fail(context, ok.error());
      code = code == kDone ? failed : kFailed;
    }
  return code;
}

Result<Writer> open_writer(const Context& context, bool bring_up_first) {
  if (bring_up_first && !context.pins().exist()) CTN_TRY(bring_up(context.pins(), {}));
  return Writer::open(context.pins());
}

Result<int> parse_pid(const std::string& text) {
  int pid = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), pid);
  if (error == std::errc() && end == text.data() + text.size() && pid > 0) return pid;
  return Error{EINVAL, fmt::format("'{}' is not a pid: give a positive number", printable(text))};
}

}  // namespace ctnbpf::cli
