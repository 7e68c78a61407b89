#include "candidates.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <fstream>
#include <set>

#include "ctnbpf/attributes.h"
#include "ctnbpf/address.h"
#include "ctnbpf/subsystem.h"
#include "ctnbpf/tree.h"
#include "stat_table.h"

namespace ctnbpf::cli {
namespace {

/* More are no help to anybody; with a letter more they are fewer. */
constexpr std::size_t kMost = 2000;

std::vector<Slot> roots(const State& state) {
  std::vector<Slot> out;
  for (std::uint32_t h = 0; h < CTN_MAX_HIER; h++)
    if (tree::hierarchy_active(state, h)) out.push_back(h);
  return out;
}

/* By address; each once, as several hierarchies have the core's. */
std::vector<AttributeRef> attributes_at(const Pins& pins,
                                        const std::vector<std::string>& addresses) {
  std::vector<AttributeRef> out;
  std::set<std::string> seen;
  auto add = [&](const std::vector<AttributeRef>& all) {
    for (const AttributeRef& one : all)
      if (seen.insert(one.full_name).second) out.push_back(one);
  };
  auto state = State::open(pins);
  if (state)
    for (const std::string& address : addresses)
      if (auto slot = tree::find(*state, address); slot) add(attributes_of(*state, *slot));
  if (!out.empty()) return out;
  add(core_attributes());
  for (const Subsystem* subsystem : subsystems())
    for (const Attribute& one : subsystem->attributes)
      add({{subsystem, &one, fmt::format("{}.{}", subsystem->name, one.name)}});
  return out;
}

}  // namespace

std::vector<Candidate> address_candidates(const Pins& pins, const std::string& text, bool parents) {
  std::vector<Candidate> out;
  auto state = State::open(pins);
  if (!state) return out;
  std::size_t slash = text.rfind('/');
  if (slash == std::string::npos) {
    for (Slot root : roots(*state)) {
      std::string name = tree::hierarchy_name(*state, root);
      out.push_back({name + ":/", "hierarchy"});
      for (const Subsystem* bound : bound_subsystems(*state, root))
        if (bound->name != name) out.push_back({std::string(bound->name) + ":/", "in " + name});
    }
    return out;
  }
  std::string above = text.substr(0, slash + 1);
  auto parent = tree::find(*state, above);
  if (!parent) return out;
  for (Slot child : tree::children(*state, *parent)) {
    std::string word = above + printable(tree::name_of(*state, child));
    if (!word.starts_with(text)) continue;
    const ctn_node& node = state->nodes()[child];
    if (parents || load(node.first_child) != 0) word += '/';
    std::uint32_t tasks = live_tasks(node);
    out.push_back({word, fmt::format("{} task{}", tasks, tasks == 1 ? "" : "s")});
    if (out.size() == kMost) break;
  }
  return out;
}

std::vector<Candidate> hierarchy_candidates(const Pins& pins) {
  std::vector<Candidate> out;
  auto state = State::open(pins);
  if (!state) return out;
  for (Slot root : roots(*state))
    out.push_back({tree::hierarchy_name(*state, root), subsystem_list(*state, root)});
  return out;
}

std::vector<Candidate> column_candidates(const Pins& pins) {
  std::vector<Candidate> out;
  auto state = State::open(pins);
  if (!state) return out;
  metrics::Meters meters;
  if (!meters.read(*state)) return out;
  auto table = metrics::make_stat(*state, meters, roots(*state));
  if (!table) return out;
  out.push_back({"container", "by name"});
  for (const metrics::StatColumn& column : table->columns)
    if (!column.collected) out.push_back({column.name, column.help});
  return out;
}

std::vector<Candidate> pid_candidates() {
  std::vector<std::pair<int, std::string>> found;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator("/proc", error)) {
    std::string name = entry.path().filename();
    int pid = 0;
    auto [end, bad] = std::from_chars(name.data(), name.data() + name.size(), pid);
    if (bad != std::errc() || end != name.data() + name.size()) continue;
    std::string comm;
    std::getline(std::ifstream(entry.path() / "comm"), comm);
    if (!comm.empty()) found.emplace_back(pid, printable(comm)); /* else it has gone */
  }
  std::sort(found.begin(), found.end());
  std::vector<Candidate> out;
  out.reserve(found.size());
  for (const auto& [pid, comm] : found) out.push_back({std::to_string(pid), comm});
  return out;
}

std::vector<Candidate> subsystem_candidates(const std::string& text) {
  std::size_t last = text.rfind(',');
  std::string before = last == std::string::npos ? "" : text.substr(0, last + 1);
  std::vector<Candidate> out;
  for (const Subsystem* subsystem : subsystems())
    if (("," + before).find(fmt::format(",{},", subsystem->name)) == std::string::npos)
      out.push_back({before + subsystem->name, subsystem->help});
  return out;
}

std::vector<Candidate> attribute_candidates(const Pins& pins,
                                            const std::vector<std::string>& addresses) {
  std::vector<Candidate> out;
  for (const AttributeRef& one : attributes_at(pins, addresses))
    out.push_back({one.full_name, one.attribute->help});
  return out;
}

std::vector<Candidate> setting_candidates(const Pins& pins,
                                          const std::vector<std::string>& addresses,
                                          const std::string& text) {
  std::vector<Candidate> out;
  std::size_t equals = text.find('=');
  if (equals == std::string::npos) {
    for (const AttributeRef& one : attributes_at(pins, addresses))
      if (one.attribute->prepare != nullptr)
        out.push_back({one.full_name + "=", one.attribute->help});
    return out;
  }
  auto state = State::open(pins);
  if (!state || addresses.empty()) return out;
  auto slot = tree::find(*state, addresses[0]);
  if (!slot) return out;
  auto found = find_attribute(*state, *slot, text.substr(0, equals));
  if (!found) return out;
  if (auto value = found->attribute->read(*state, *slot); value)
    out.push_back({text.substr(0, equals + 1) + printable(to_string(*value)), "as it is"});
  return out;
}

}  // namespace ctnbpf::cli
