/* A layout: which hierarchies and containers there should be, what their attributes are, and which rule
 * puts whom there. As a file it is TOML (toml.h); a machine is one too (machine.h). */
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "ctnbpf/result.h"

namespace ctnbpf::config {

/* Where something stands in a file; without a line, the file as a whole, and no file: a machine. */
struct Where {
  std::string file;
  std::uint32_t line = 0;
  std::uint32_t column = 0;

  std::string to_string() const; /* "limits.toml:4:1" */
};
/* The error with the place in front. */
Error at(const Where& where, const Error& error);

struct Setting {
  std::string value; /* the normal form */
  Where where = {};
};

using Path = std::vector<std::string>; /* empty: the root */

struct Container {
  std::map<std::string, Setting> settings = {}; /* by the attribute's full name */
  Where where = {};
  std::uint64_t users = 0; /* of a machine: tasks, and what else keeps it from being removed */
};

struct Hierarchy {
  std::string name;
  /* None: those it has on the machine. */
  std::optional<std::vector<std::string>> subsystems = {};
  std::map<Path, Container> containers = {}; /* the root and, for each, all above it */
  Where where = {};
};

/* The user of a process, the program it runs and the control group it is in, as far as they are given; the
 * first rule that fits a process says where it belongs. */
struct Rule {
  std::string user = {};            /* "alice", "@students", "1000-1999", "*" */
  std::string program = {};         /* a path, or a name without '/' */
  std::string cgroup = {};          /* that control group and all below */
  std::vector<std::string> to = {}; /* one container a hierarchy, with %u %U %g %G %p %P, and %% */
  bool ignore = false;              /* it is left where it is */
  Where where = {};
};

struct Layout {
  std::vector<Hierarchy> hierarchies = {};
  std::vector<Rule> rules = {};

  const Hierarchy* find(const std::string& name) const;
  Hierarchy* find(const std::string& name);
};

/* The hierarchy that is made where nobody names another. */
inline constexpr const char* kDefault = "default";

/* "default:/a/b", as a command takes it. */
std::string address_of(const std::string& hierarchy, const Path& path);

/* The container of `path`, made with all above it if it is not there. */
Container& container_at(Hierarchy& hierarchy, const Path& path, const Where& where);

}  // namespace ctnbpf::config
