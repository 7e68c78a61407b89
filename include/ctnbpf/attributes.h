/* Attributes of containers: finding and setting them. Their rows are the subsystems' (subsystem.h). */
#pragma once

#include <map>
#include <string>
#include <vector>

#include "ctnbpf/subsystem.h"

namespace ctnbpf {

/* An attribute of a container, whoever owns it. */
struct AttributeRef {
  const Subsystem* subsystem; /* null: of the core */
  const Attribute* attribute;
  std::string full_name; /* "numtasks.limit" */
};
/* ENOENT: no such attribute, or its subsystem is not bound to the container's hierarchy. */
Result<AttributeRef> find_attribute(const State& state, Slot slot, const std::string& name);
/* Those of the core, which every container has. */
std::vector<AttributeRef> core_attributes();
/* All attributes a container has, core ones first. */
std::vector<AttributeRef> attributes_of(const State& state, Slot slot);

/* Prepares `NAME=VALUE` settings and makes them all, or none: also where the machine refuses what follows
 * from one of them. ENOTSUP if the kernel cannot keep what is asked and `best_effort` is false. */
Result<void> set_attributes(Writer& writer, Slot slot, const std::vector<std::string>& settings,
                            bool best_effort);
/* The same for several containers. */
using Settings = std::map<Slot, std::vector<std::string>>;
Result<void> set_attributes(Writer& writer, const Settings& settings, bool best_effort);

/* The normal form of a limit and of a flag: `attribute` is the full name. EINVAL, ERANGE. */
Result<NormalForm> normal_limit(const std::string& attribute, const std::string& text,
                                std::uint64_t highest);
Result<NormalForm> normal_flag(const std::string& attribute, const std::string& text);

/* "max" or a decimal number up to `highest`; a trailing newline is accepted. EINVAL, ERANGE. */
Result<std::uint64_t> parse_limit(const std::string& attribute, const std::string& text,
                                  std::uint64_t highest);

}  // namespace ctnbpf
