/* Attributes: the core's own, and finding and setting those of subsystems. */
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>

#include "ctnbpf/levels.h"
#include "ctnbpf/attributes.h"
#include "ctnbpf/nearest.h"
#include "ctnbpf/subsystem.h"
#include "ctnbpf/tree.h"

namespace ctnbpf {
namespace {

std::string_view without_newline(std::string_view text) {
  if (text.ends_with('\n')) text.remove_suffix(1);
  return text;
}

Result<Value> read_notify(const State& state, Slot slot) {
  return Value{std::uint64_t{(state.nodes()[slot].flags & CTN_NOTIFY_ON_RELEASE) != 0}};
}

bool is_flag(std::string_view value) { return value == "0" || value == "1"; }

Error not_a_flag(std::string_view attribute, std::string_view value) {
  return {EINVAL,
          fmt::format("{} cannot be '{}': use 0 or 1", attribute, printable(value.substr(0, 80)))};
}

Result<Change> prepare_notify(Writer& writer, Slot slot, const std::string& text) {
  std::string_view value = without_newline(text);
  if (!is_flag(value)) return not_a_flag("notify_on_release", value);
  ctn_node& node = writer.nodes()[slot];
  std::uint32_t wanted =
      value == "1" ? node.flags | CTN_NOTIFY_ON_RELEASE : node.flags & ~CTN_NOTIFY_ON_RELEASE;
  return Change([&node, wanted] {
    /* A container that is empty now is not news. Who comes in meanwhile arms it again. */
    if (((wanted & ~node.flags) & CTN_NOTIFY_ON_RELEASE) != 0) {
      store(node.armed, 0U);
      __atomic_thread_fence(__ATOMIC_SEQ_CST); /* who came in and found it armed, is seen here */
      if (live_tasks(node) != 0 || load(node.refs) != 0 || node.children != 0)
        store(node.armed, 1U);
    }
    store(node.flags, wanted);
  });
}

Result<Value> read_tasks(const State& state, Slot slot) {
  return Value{std::uint64_t{live_tasks(state.nodes()[slot])}};
}

Result<Value> read_agent(const State& state, Slot slot) {
  const char* agent =
      state.core().hierarchies[state.nodes()[slot].hierarchy % CTN_MAX_HIER].release_agent;
  return Value{std::string(agent, ::strnlen(agent, CTN_NAME_MAX))};
}

Result<std::string> parse_agent(const std::string& text) {
  std::string agent = from_printable(without_newline(text));
  if ((!agent.empty() && agent[0] != '/') || agent.size() > CTN_NAME_MAX)
    return Error{
        EINVAL,
        fmt::format("release_agent cannot be '{}': use an absolute path of at most {} bytes, or "
                    "nothing",
                    printable(agent.substr(0, 80)), CTN_NAME_MAX)};
  if (has_control(agent))
    return Error{EINVAL, fmt::format("release_agent cannot be '{}': it has a control character",
                                     printable(agent.substr(0, 80)))};
  return agent;
}

Result<NormalForm> normal_agent(const std::string& text) {
  CTN_ASSIGN(std::string agent, parse_agent(text));
  return NormalForm{{"release_agent", portable(agent)}};
}

Result<Change> prepare_agent(Writer& writer, Slot slot, const std::string& text) {
  CTN_ASSIGN(std::string agent, parse_agent(text));
  if (slot >= CTN_MAX_HIER)
    return Error{EPERM, fmt::format("release_agent belongs to the hierarchy: set it on {}:/",
                                    tree::hierarchy_name(writer, writer.nodes()[slot].hierarchy))};
  return Change([&writer, slot, agent] { tree::set_text(writer, CTN_PENDING_AGENT, slot, agent); });
}

constexpr std::array kCoreAttributes = {
    Attribute{
        .name = "notify_on_release",
        .help = "1: report when the container becomes empty",
        .read = read_notify,
        .prepare = prepare_notify,
        .initial = "0",
        .normal = [](const std::string& text) { return normal_flag("notify_on_release", text); }},
    Attribute{.name = "release_agent",
              .help = "program started with the path of a container that became empty (of a root)",
              .read = read_agent,
              .prepare = prepare_agent,
              .on = On::kRoot,
              .normal = normal_agent},
    Attribute{"tasks", "live tasks of this very container (not of a root)", read_tasks},
};

}  // namespace

std::string to_string(const Value& value) {
  if (const auto* number = std::get_if<std::uint64_t>(&value))
    return *number == CTN_UNLIMITED ? "max" : std::to_string(*number);
  return std::get<std::string>(value);
}

std::vector<AttributeRef> core_attributes() {
  std::vector<AttributeRef> out;
  for (const Attribute& attribute : kCoreAttributes)
    out.push_back({nullptr, &attribute, attribute.name});
  return out;
}

std::vector<AttributeRef> attributes_of(const State& state, Slot slot) {
  std::vector<AttributeRef> out = core_attributes();
  for (const Subsystem* subsystem : bound_subsystems(state, state.nodes()[slot].hierarchy))
    for (const Attribute& attribute : subsystem->attributes)
      out.push_back({subsystem, &attribute, fmt::format("{}.{}", subsystem->name, attribute.name)});
  return out;
}

Result<AttributeRef> find_attribute(const State& state, Slot slot, const std::string& name) {
  std::size_t dot = std::min(name.find('.'), name.size());
  const Subsystem* owner = find_subsystem(name.substr(0, dot));
  std::uint32_t in = state.nodes()[slot].hierarchy;
  bool bound = owner != nullptr && load(state.core().bound[owner->id]) == in + 1;
  std::span<const Attribute> all = kCoreAttributes;
  if (dot < name.size()) all = bound ? owner->attributes : std::span<const Attribute>();
  std::string_view own = dot < name.size() ? std::string_view(name).substr(dot + 1) : name;
  for (const Attribute& attribute : all)
    if (own == attribute.name)
      return AttributeRef{dot < name.size() ? owner : nullptr, &attribute, name};
  std::string hierarchy = tree::hierarchy_name(state, in);
  if (owner != nullptr && !bound)
    return Error{ENOENT,
                 fmt::format("attribute '{}': subsystem '{}' is not bound to hierarchy '{}'",
                             printable(name), owner->name, hierarchy)};
  std::vector<std::string> names;
  for (const AttributeRef& one : attributes_of(state, slot)) names.push_back(one.full_name);
  return Error{ENOENT,
               fmt::format("unknown attribute '{}':{} `ctnbpf subsystems --attributes` lists them",
                           printable(name), did_you_mean(name, names))};
}

Result<std::uint64_t> parse_limit(const std::string& attribute, const std::string& text,
                                  std::uint64_t highest) {
  std::string_view value = without_newline(text);
  if (value == "max") return std::uint64_t{CTN_UNLIMITED};
  std::uint64_t number = 0;
  auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), number);
  bool whole = end == value.data() + value.size() && !value.empty();
  if (whole && error == std::errc() && number <= highest) return number;
  bool too_large = whole || error == std::errc::result_out_of_range;
  return Error{too_large ? ERANGE : EINVAL,
               fmt::format("{} cannot be '{}': use 'max' or a number from 0 to {}", attribute,
                           printable(value.substr(0, 80)), highest)};
}

Result<NormalForm> normal_limit(const std::string& attribute, const std::string& text,
                                std::uint64_t highest) {
  CTN_ASSIGN(std::uint64_t number, parse_limit(attribute, text, highest));
  return NormalForm{{attribute.substr(attribute.find('.') + 1), to_string(Value{number})}};
}

Result<NormalForm> normal_flag(const std::string& attribute, const std::string& text) {
  std::string_view value = without_newline(text);
  if (!is_flag(value)) return not_a_flag(attribute, value);
  return NormalForm{{attribute.substr(attribute.find('.') + 1), std::string(value)}};
}

std::string caveat_of(const Subsystem& subsystem, const State& state) {
  KernelFacts facts = kernel_facts();
  if (level_of(subsystem, state.core().level) == CTN_LEVEL_FALLBACK && facts.preempts())
    return fmt::format(
        "the kernel may skip the programs that refuse (preempt={}): it can be passed while "
        "several tasks are preempted in the middle of a refusal; what passes is counted",
        facts.preempt.empty() ? "unknown" : facts.preempt);
  return subsystem.caveat != nullptr ? subsystem.caveat(state) : std::string();
}

namespace {

struct Prepared {
  Slot slot;
  const Subsystem* subsystem; /* null: the core */
  Change change;

  bool can_be_refused() const { return subsystem != nullptr && subsystem->settle != nullptr; }
};

Result<Prepared> prepare(Writer& writer, Slot slot, const std::string& setting, bool best_effort) {
  std::size_t equals = setting.find('=');
  if (equals == std::string::npos)
    return Error{
        EINVAL, fmt::format("setting '{}' is not of the form ATTRIBUTE=VALUE", printable(setting))};
  std::string name = setting.substr(0, equals);
  CTN_ASSIGN(AttributeRef found, find_attribute(writer, slot, name));
  const Attribute& attribute = *found.attribute;
  if (attribute.prepare == nullptr)
    return Error{EACCES, fmt::format("attribute '{}' is read-only", name)};
  std::string value = setting.substr(equals + 1);
  CTN_ASSIGN(Change change, attribute.prepare(writer, slot, value));
  if (attribute.needs != CTN_LEVEL_NONE && !best_effort && without_newline(value) != "max") {
    std::uint32_t level = level_of(*found.subsystem, writer.core().level);
    if (level < attribute.needs)
      return Error{ENOTSUP, fmt::format("{} cannot be enforced on this kernel (level {})", name,
                                        level_name(level))};
  }
  return Prepared{slot, found.subsystem, std::move(change)};
}

/* Those of one subsystem that the machine may refuse, made and put in force. */
class Refusable {
 public:
  Refusable(Writer& writer, const Subsystem& subsystem) : writer_(writer), subsystem_(subsystem) {}
  void add(const Prepared& one) {
    changes_.push_back(&one.change);
    if (std::find(slots_.begin(), slots_.end(), one.slot) == slots_.end())
      slots_.push_back(one.slot);
  }
  Result<void> make() const {
    for (const Change* change : changes_) change->make();
    for (Slot slot : slots_) CTN_TRY(subsystem_.settle(writer_, slot));
    return {};
  }
  void undo() const {
    for (auto change = changes_.rbegin(); change != changes_.rend(); ++change) (*change)->undo();
    for (Slot slot : slots_) (void)subsystem_.settle(writer_, slot);
  }
  const Subsystem& subsystem() const { return subsystem_; }

 private:
  Writer& writer_;
  const Subsystem& subsystem_;
  std::vector<const Change*> changes_;
  std::vector<Slot> slots_;
};

}  // namespace

Result<void> set_attributes(Writer& writer, Slot slot, const std::vector<std::string>& settings,
                            bool best_effort) {
  return set_attributes(writer, Settings{{slot, settings}}, best_effort);
}

/* All are checked; then what the machine can refuse is put in force; when it has refused nothing, the rest
 * is stored, which cannot fail. */
Result<void> set_attributes(Writer& writer, const Settings& settings, bool best_effort) {
  std::vector<Prepared> prepared;
  writer.pending().clear();
  for (const auto& [slot, own] : settings)
    for (const std::string& setting : own) {
      CTN_ASSIGN(Prepared one, prepare(writer, slot, setting, best_effort));
      prepared.push_back(std::move(one));
    }
  writer.pending().clear();
  std::vector<Refusable> refusable;
  for (const Prepared& one : prepared) {
    if (!one.can_be_refused()) continue;
    auto found = std::find_if(refusable.begin(), refusable.end(), [&](const Refusable& each) {
      return &each.subsystem() == one.subsystem;
    });
    if (found == refusable.end()) {
      refusable.emplace_back(writer, *one.subsystem);
      found = refusable.end() - 1;
    }
    found->add(one);
  }
  for (std::size_t i = 0; i < refusable.size(); i++) {
    auto done = refusable[i].make();
    if (done) continue;
    for (std::size_t back = i + 1; back > 0; back--) refusable[back - 1].undo();
    return done;
  }
  for (const Prepared& one : prepared)
    if (!one.can_be_refused()) one.change.make();
  return {};
}

}  // namespace ctnbpf
