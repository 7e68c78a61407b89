#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "commands.h"
#include "kernel_machine.h"
#include "plan.h"
#include "resolve.h"
#include "ctnbpf/address.h"
#include "ctnbpf/service.h"

namespace ctnbpf::layout {
namespace {

using cli::Context;
using config::Plan;
using config::Step;
using Errors = std::vector<Error>;

std::string shown_name(const std::string& file) { return file == "-" ? "standard input" : file; }

/* The files, as far as they can be read without a machine. */
Errors read_files(const std::vector<std::string>& files, std::vector<config::Document>& documents) {
  Errors errors;
  if (std::count(files.begin(), files.end(), "-") > 1)
    return {{EINVAL, "standard input (-) is given more than once: it can be read once"}};
  for (const std::string& file : files) {
    auto text = read_file(file);
    if (!text) {
      errors.push_back(text.error());
      continue;
    }
    config::Parsed parsed = config::parse_toml(*text, shown_name(file));
    errors.insert(errors.end(), parsed.errors.begin(), parsed.errors.end());
    if (!parsed.document.rules.empty())
      errors.push_back(config::at(
          parsed.document.rules[0].where,
          {ENOSYS, "this version cannot put rules into the kernel yet: take [[rules]] out"}));
    documents.push_back(std::move(parsed.document));
  }
  return errors;
}

/* What is to be done on this machine. */
Result<Plan> plan_for(config::View& view, const std::vector<config::Document>& documents,
                      const ApplyOptions& options) {
  CTN_ASSIGN(config::Layout now, view.read());
  config::Resolved resolved = config::resolve(documents, now);
  Plan plan;
  if (resolved.errors.empty())
    plan = config::make_plan(resolved.layout, now, view, options.prune, options.best_effort);
  else
    plan.errors = std::move(resolved.errors);
  return plan;
}

nlohmann::ordered_json to_json(const Plan& plan) {
  static constexpr const char* kWords[] = {"make-hierarchy", "make", "set", "remove"};
  nlohmann::ordered_json out = nlohmann::ordered_json::array();
  for (const Step& step : plan.steps) {
    if (step.kind == Step::Kind::kKeep) continue;
    nlohmann::ordered_json one;
    one["change"] = kWords[static_cast<int>(step.kind)];
    one["container"] = portable(Address{step.hierarchy, step.path}.to_string());
    if (step.kind == Step::Kind::kMakeHierarchy) one["subsystems"] = step.subsystems;
    if (step.kind == Step::Kind::kSet) {
      one["attribute"] = step.attribute->full_name;
      one["value"] = step.value;
      one["was"] = step.before;
    }
    out.push_back(std::move(one));
  }
  return out;
}

int report_all(const Context& context, const Errors& errors) {
  cli::Failures failures(context);
  for (const Error& error : errors) failures.add(cli::with_cure(error));
  return failures.finish();
}

int look(const Context& context, const ApplyOptions& options,
         const std::vector<config::Document>& documents) {
  auto state = State::open(context.pins());
  if (!state) return cli::fail(context, state.error());
  config::KernelView view(*state);
  auto plan = plan_for(view, documents, options);
  if (!plan) return cli::fail(context, plan.error());
  if (!plan->errors.empty()) return report_all(context, plan->errors);
  if (!options.diff) return cli::kDone;
  if (context.json)
    cli::print_json(to_json(*plan));
  else
    fmt::print("{}", config::describe(*plan));
  return cli::kDone;
}

std::vector<std::string> settings_of(const Plan& plan) {
  std::vector<std::string> out;
  for (const Step& step : plan.steps)
    if (step.kind == Step::Kind::kSet) out.push_back(step.attribute->full_name + "=" + step.value);
  return out;
}

/* Notes are what is to be said when the lock is released. */
Errors change(const Context& context, const ApplyOptions& options,
              const std::vector<config::Document>& documents, std::vector<std::string>& notes) {
  auto writer = cli::open_writer(context, cli::BringUp::kBare);
  if (!writer) return {writer.error()};
  config::KernelMachine machine(*writer);
  auto plan = plan_for(machine, documents, options);
  if (!plan) return {plan.error()};
  if (!plan->errors.empty()) return plan->errors;
  auto done = config::carry_out(*plan, machine);
  if (!done) return {done.error()};
  for (const std::string& one : done->stayed) notes.push_back("not removed: " + one);
  auto caveats = cli::new_caveats(*writer, settings_of(*plan));
  notes.insert(notes.end(), caveats.begin(), caveats.end());
  return {};
}

/* It was brought up for nothing; if somebody else has not made use of it since. */
void take_down_unused(const Pins& pins) {
  auto layout = [&]() -> Result<config::Layout> {
    CTN_ASSIGN(State state, State::open(pins));
    return config::read_layout(state);
  }();
  if (layout && layout->hierarchies.empty()) (void)take_down(pins, false);
}

}  // namespace

int apply(const Context& context, const ApplyOptions& options) {
  std::vector<config::Document> documents;
  Errors errors = read_files(options.files, documents);
  if (!errors.empty()) return report_all(context, errors);
  if (options.check || options.diff) return look(context, options, documents);
  bool was_up = context.pins().exist();
  std::vector<std::string> notes;
  errors = change(context, options, documents, notes);
  if (!errors.empty() && !was_up) take_down_unused(context.pins());
  for (const std::string& one : notes) cli::note(one);
  return report_all(context, errors);
}

}  // namespace ctnbpf::layout
