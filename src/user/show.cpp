/* get, ps, where, explain */
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <sstream>

#include "attribute_print.h"
#include "commands.h"
#include "ctnbpf/nearest.h"
#include "explain_print.h"
#include "files.h"

namespace ctnbpf::user {
namespace {

Result<Value> value_of(const Read& read) {
  if (!read.number) return Value{from_printable(read.value)};
  if (read.value == "max") return Value{std::uint64_t{CTN_UNLIMITED}};
  return Value{std::uint64_t{std::strtoull(read.value.c_str(), nullptr, 10)}};
}

Result<std::vector<Read>> wanted(const Place& place, const std::vector<std::string>& names) {
  CTN_ASSIGN(std::vector<Read> all, read_attributes(place));
  if (names.empty()) return all;
  std::vector<Read> found;
  for (const std::string& name : names) {
    auto one =
        std::find_if(all.begin(), all.end(), [&](const Read& read) { return read.name == name; });
    if (one == all.end()) {
      std::vector<std::string> known;
      for (const Read& read : all) known.push_back(read.name);
      return Error{ENOENT,
                   fmt::format("unknown attribute '{}':{} `ctnbpf get {}` lists them",
                               printable(name), did_you_mean(name, known), place.address())};
    }
    found.push_back(*one);
  }
  return found;
}

/* Of /proc/PID/status; empty: it is gone. */
std::string status_of(int pid, std::string_view key) {
  std::ifstream file(fmt::format("/proc/{}/status", pid));
  for (std::string line; std::getline(file, line);)
    if (line.starts_with(key)) {
      std::size_t first = line.find_first_not_of(" \t", key.size());
      return first == std::string::npos ? "" : line.substr(first);
    }
  return "";
}

Result<std::string> ask(const Mounts& mounts, const char* file, const std::string& text) {
  CTN_ASSIGN(int pid, cli::parse_pid(text));
  const Hierarchy& first = mounts.all().front();
  auto answer = ask_file(first.mount + "/" + file, std::to_string(pid));
  if (answer) return answer;
  int code = answer.error().code;
  if (code == ESRCH) return Error{code, fmt::format("no process or thread {}", pid)};
  if (code == EPERM)
    return Error{code, fmt::format("process {} is not of user {}: only root may ask for it", pid,
                                   ::geteuid())};
  return answer.error();
}

}  // namespace

Result<std::vector<Read>> read_attributes(const Place& place) {
  auto text = read_file(place, ".attributes");
  if (!text)
    return Error{text.error().code, fmt::format("read attributes of {}: {}", place.address(),
                                                std::strerror(text.error().code))};
  std::vector<Read> found;
  std::istringstream lines(*text);
  for (std::string line; std::getline(lines, line);) {
    std::size_t kind = line.find(' ');
    std::size_t value = line.find(' ', kind + 1);
    if (kind == std::string::npos || value == std::string::npos) continue;
    found.push_back({line.substr(0, kind), line.substr(kind + 1, value - kind - 1) == "number",
                     line.substr(value + 1)});
  }
  return found;
}

Result<std::vector<Where>> places_of(const Mounts& mounts, const std::string& pid) {
  CTN_ASSIGN(std::string text, ask(mounts, ".where", pid));
  constexpr std::string_view kRemoved = "(removed)";
  std::vector<Where> found;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    std::size_t colon = std::min(line.find(':'), line.size() - 1);
    Where one = {line.substr(0, colon), line.substr(colon + 1), false};
    if (one.hierarchy.ends_with(kRemoved)) {
      one.removed = true;
      one.hierarchy.resize(one.hierarchy.size() - kRemoved.size());
    }
    found.push_back(std::move(one));
  }
  return found;
}

int get(const cli::Context& context, const Mounts& mounts, const Given& given) {
  bool recursive = given.has("--recursive");
  auto done = [&]() -> Result<void> {
    CTN_ASSIGN(Place top, mounts.container(given.one("ADDR")));
    std::vector<Place> places{top};
    if (recursive) {
      CTN_ASSIGN(places, subtree(top));
    }
    cli::AttributePrinter printer(context, given.has("-n"), recursive);
    for (const Place& place : places) {
      CTN_ASSIGN(auto attributes, wanted(place, given.all("ATTR")));
      printer.begin(from_printable(place.address()));
      for (const Read& read : attributes) {
        CTN_ASSIGN(Value value, value_of(read));
        printer.attribute(read.name, value);
      }
    }
    printer.end();
    return {};
  }();
  return done ? cli::kDone : cli::fail(context, done.error());
}

int ps(const cli::Context& context, const Mounts& mounts, const Given& given) {
  auto done = [&]() -> Result<void> {
    CTN_ASSIGN(Place top, mounts.container(given.one("ADDR")));
    std::vector<Place> places{top};
    if (given.has("--recursive")) {
      CTN_ASSIGN(places, subtree(top));
    }
    std::map<int, std::string>
        found; /* a process may have threads in several: the first says where */
    for (const Place& place : places) {
      CTN_ASSIGN(std::string text, read_file(place, given.has("--threads") ? "tasks" : "procs"));
      std::istringstream numbers(text);
      for (int number = 0; numbers >> number;)
        found.emplace(number, from_printable(place.address()));
    }
    nlohmann::ordered_json json = nlohmann::ordered_json::array();
    for (const auto& [number, address] : found) {
      if (!context.json) {
        fmt::print("{}\n", number);
        continue;
      }
      std::string state = status_of(number, "State:");
      if (state.empty()) continue; /* it is gone by now */
      json.push_back({{"pid", std::atoi(status_of(number, "Tgid:").c_str())},
                      {"tid", number},
                      {"comm", portable(status_of(number, "Name:"))},
                      {"uid", std::strtoul(status_of(number, "Uid:").c_str(), nullptr, 10)},
                      {"state", state.substr(0, 1)},
                      {"container", portable(address)}});
    }
    if (context.json) cli::print_json(json);
    return {};
  }();
  return done ? cli::kDone : cli::fail(context, done.error());
}

int where(const cli::Context& context, const Mounts& mounts, const Given& given) {
  auto found = places_of(mounts, given.one("PID"));
  if (!found) return cli::fail(context, found.error());
  nlohmann::ordered_json json = nlohmann::ordered_json::array();
  for (const Where& one : *found) {
    auto hierarchy = mounts.hierarchy(one.hierarchy);
    if (!hierarchy) continue; /* not mounted where this user can see it */
    std::string subsystems = (*hierarchy)->subsystem_list();
    if (!context.json)
      fmt::print("{}:{}{}\n", subsystems.empty() ? one.hierarchy : subsystems, one.path,
                 one.removed ? " (removed)" : "");
    json.push_back({{"hierarchy", one.hierarchy},
                    {"subsystems", subsystems},
                    {"path", portable(from_printable(one.path))},
                    {"removed", one.removed}});
  }
  if (context.json) cli::print_json(json);
  return cli::kDone;
}

int explain(const cli::Context& context, const Mounts& mounts, const Given& given) {
  auto text = ask(mounts, ".explain", given.one("PID"));
  if (!text) return cli::fail(context, text.error());
  std::istringstream lines(*text);
  Explanation found = {};
  lines >> found.pid >> found.tid >> std::ws;
  std::getline(lines, found.comm);
  found.comm = from_printable(found.comm);
  for (BoundLine one; lines >> one.resource >> one.what >> one.used >> one.most >> one.left;) {
    std::getline(lines >> std::ws, one.on);
    one.on = from_printable(one.on);
    found.bounds.push_back(one);
  }
  cli::print_explanation(context, found);
  return cli::kDone;
}

}  // namespace ctnbpf::user
