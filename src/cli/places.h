/* The containers that a command is put in: of `run` and `exec`. */
#pragma once

#include <string>
#include <vector>

#include "ctnbpf/address.h"
#include "ctnbpf/state.h"

namespace ctnbpf::cli {

/* A container the command runs in. */
struct Place {
  Slot slot;
  std::string address;
  bool transient; /* made by this run, to be removed by it */
};

/* At most one of each hierarchy; EINVAL names the two that are in one. */
Result<std::vector<Address>> distinct_addresses(const State& state,
                                                const std::vector<std::string>& texts);

std::vector<Slot> slots_of(const std::vector<Place>& places);

/* What subsystems tell the command's process before exec: a line each, "NAME TEXT". */
Result<std::string> what_to_tell(const State& state, const std::vector<Place>& places);
/* In that process. */
void hear(const std::string& told);

/* "  tasks peak 37 of 64, 112 refused  files ...": of each subsystem that has such figures. */
std::string figures_text(const State& state, Slot slot);

/* Exit codes of a command that was not executed, and which of them `code`, an errno of exec, is. */
inline constexpr int kNotExecutable = 126;
inline constexpr int kNotFound = 127;
inline int exec_failure(int code) { return code == ENOENT ? kNotFound : kNotExecutable; }

}  // namespace ctnbpf::cli
