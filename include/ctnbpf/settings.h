/* Putting a process in containers with settings that name no container: `run`, `exec`, the OCI hook. */
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "ctnbpf/state.h"

namespace ctnbpf {

/* The hierarchy that a setting NAME=VALUE speaks of, that of the attribute's subsystem. None: an attribute that
 * every container has. ENOENT. */
Result<std::optional<std::uint32_t>> hierarchy_of_setting(const State& state,
                                                          const std::string& setting);

/* Those that the settings speak of; if they speak of none, the first there is. */
Result<std::vector<std::uint32_t>> hierarchies_of_settings(
    const State& state, const std::vector<std::string>& settings);

/* Each setting goes to the container in its attribute's hierarchy, or to all; all or none are made. EINVAL: no
 * container is in the hierarchy that one speaks of; `named` is how containers are given. */
Result<void> apply_settings(Writer& writer, const std::vector<Slot>& containers,
                            const std::vector<std::string>& settings, bool best_effort,
                            const char* named);

/* Takes back what was made for a process that is not to come; children come after their parents. */
void remove_made(Writer& writer, const std::vector<Slot>& made);

}  // namespace ctnbpf
