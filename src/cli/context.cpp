#include "context.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <utility>

#include "ctnbpf/address.h"
#include "ctnbpf/levels.h"
#include "ctnbpf/subsystem.h"
#include "ctnbpf/service.h"

namespace ctnbpf::cli {
namespace {

std::string errno_name(int code) {
  const char* name = ::strerrorname_np(code);
  return name != nullptr ? name : fmt::format("E{}", code);
}

nlohmann::ordered_json to_json(const Error& error) {
  return {{"code", errno_name(error.code)}, {"message", error.what}};
}

/* What is said while this process has the writer lock waits until it is released: whoever should read it may
 * not, and a full pipe must not hold up other commands. */
class Outbox {
 public:
  void hold() { holders_++; }
  void release() {
    if (--holders_ != 0) return;
    for (const auto& [stream, text] : std::exchange(kept_, {})) write(stream, text);
  }
  void say(std::FILE* stream, std::string text) {
    if (holders_ == 0)
      write(stream, text);
    else
      kept_.emplace_back(stream, std::move(text));
  }

 private:
  /* Not by fmt::print, which throws: a reader of our messages that is gone must not stop us. */
  static void write(std::FILE* stream, const std::string& text) {
    (void)std::fwrite(text.data(), 1, text.size(), stream);
  }

  int holders_ = 0;
  std::vector<std::pair<std::FILE*, std::string>> kept_;
};

Outbox& outbox() {
  static Outbox one;
  return one;
}

}  // namespace

void note(const std::string& message) {
  outbox().say(stderr, fmt::format("ctnbpf: {}\n", harmless(message)));
}

void report(const Context& context, const Error& error) {
  if (error.code == EPIPE) return; /* whoever read our output has gone */
  if (context.json) print_json({{"error", to_json(error)}});
  note(error.what);
  if (context.verbose) outbox().say(stderr, error.detail);
}

Error with_cure(const Error& error) {
  if (error.code != ENOTSUP) return error;
  auto levels = probe_levels();
  if (!levels) return error;
  std::string why; /* "A and B: reason", or "A: reason; B: reason" */
  std::string last;
  for (const ProbedHook& hook : levels->hooks) {
    if (hook.works || !std::string_view(hook.program).ends_with("task_alloc")) continue;
    if (hook.reason == last)
      why.insert(why.size() - last.size() - 2, fmt::format(" and {}", hook.hook));
    else
      why += fmt::format("{}{}: {}", why.empty() ? "" : "; ", hook.hook, hook.reason);
    last = hook.reason;
  }
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

std::string json_text(const nlohmann::ordered_json& json, int indent) {
  /* Texts come from portable(); were one not, what is no UTF-8 is replaced rather than refused. */
  std::string text =
      json.dump(indent, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
  std::string one_line = text;
  std::replace(one_line.begin(), one_line.end(), '\n', ' ');
  if (harmless(one_line) == one_line) return text;
  return json.dump(indent, ' ', true, nlohmann::ordered_json::error_handler_t::replace);
}

void print_json(const nlohmann::ordered_json& json) {
  outbox().say(stdout, json_text(json, 2) + "\n");
}

void Failures::add(const Error& error) {
  Context text = context_;
  text.json = false;
  report(text, error);
  errors_.push_back(error);
}

int Failures::finish() const {
  if (errors_.empty()) return kDone;
  if (context_.json) {
    nlohmann::ordered_json all = {{"error", to_json(errors_[0])}};
    if (errors_.size() > 1)
      for (const Error& error : errors_) all["errors"].push_back(to_json(error));
    print_json(all);
  }
  bool lacks = std::all_of(errors_.begin(), errors_.end(),
                           [](const Error& error) { return error.code == ENOTSUP; });
  return lacks ? kKernelLacks : kFailed;
}

int flushed(int code) {
  if (std::fflush(stdout) == 0 && std::ferror(stdout) == 0) return code;
  if (code != kDone) return code; /* which was reported, be it this */
  if (errno != EPIPE) note(fmt::format("write to standard output: {}", std::strerror(errno)));
  return kFailed;
}

int for_each(const Context& context, const std::vector<std::string>& items,
             const std::function<Result<void>(const std::string&)>& one) {
  Failures failures(context);
  for (const std::string& item : items)
    if (auto ok = one(item); !ok) failures.add(ok.error());
  return failures.finish();
}

Result<Writer> open_writer(const Context& context, BringUp first, Writer::Slots slots) {
  LoadSettings settings;
  settings.default_layout = first != BringUp::kBare;
  if (first != BringUp::kNo && !context.pins().exist()) CTN_TRY(bring_up(context.pins(), settings));
  CTN_ASSIGN(Writer writer, Writer::open(context.pins(), slots));
  outbox().hold();
  writer.when_released([] { outbox().release(); });
  for (const Error& trouble : writer.troubles()) note(fmt::format("warning: {}", trouble.what));
  if (first == BringUp::kEnsure) CTN_TRY(ensure_hierarchy(writer));
  return writer;
}

std::vector<std::string> new_caveats(Writer& writer, const std::vector<std::string>& settings) {
  std::vector<std::string> said;
  for (const std::string& setting : settings) {
    const Subsystem* subsystem = find_subsystem(setting.substr(0, setting.find('.')));
    if (subsystem == nullptr || setting.ends_with("=max")) continue;
    std::string name = setting.substr(0, setting.find('='));
    bool promises = std::any_of(subsystem->attributes.begin(), subsystem->attributes.end(),
                                [&](const Attribute& one) {
                                  return one.needs != CTN_LEVEL_NONE &&
                                         name == fmt::format("{}.{}", subsystem->name, one.name);
                                });
    std::uint32_t bit = 1U << subsystem->id;
    if (!promises || (writer.core().caveats_told & bit) != 0) continue;
    std::string caveat = caveat_of(*subsystem, writer);
    if (caveat.empty()) continue;
    store(writer.core().caveats_told, writer.core().caveats_told | bit);
    said.push_back(
        fmt::format("note: of a limit of {} on this kernel: {}", subsystem->name, caveat));
  }
  return said;
}

CLI::Validator seconds_between(double lowest, double highest) {
  return {[lowest, highest](std::string& text) {
            double value = 0;
            auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
            bool good = error == std::errc() && end == text.data() + text.size() &&
                        value >= lowest && value <= highest;
            return good ? std::string()
                        : fmt::format("'{}' is not a number of seconds from {:g} to {:g}", text,
                                      lowest, highest);
          },
          ""};
}

Result<int> parse_pid(const std::string& text) {
  int pid = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), pid);
  if (error == std::errc() && end == text.data() + text.size() && pid > 0) return pid;
  return Error{EINVAL, fmt::format("'{}' is not a pid: give a positive number", printable(text))};
}

}  // namespace ctnbpf::cli
