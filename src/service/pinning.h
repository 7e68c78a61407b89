/* The directories of the pins, which are made and removed as a whole. */
#pragma once

#include <array>
#include <string>
#include <vector>

#include "ctnbpf/pins.h"

namespace ctnbpf {

/* Among the pins, so that nothing of another instance's is there: what is being built, and what is being
 * removed. */
std::string being_built(const Pins& pins);
std::string being_removed(const Pins& pins);

/* The last is what there is or is not: Pins::exist(). */
inline constexpr std::array kParts = {"links", "progs", "maps"};

bool is_there(const std::string& path);
Result<void> make_directory(const std::string& path);
Result<void> move_pins(const std::string& from, const std::string& to);
/* Unlinks links first, so that nothing runs any more when the maps go. */
Result<void> remove_pins(const std::string& root);

/* EINVAL: `parent` is not on a BPF file system, and is not where one is mounted usually. */
Result<void> require_bpffs(const std::string& parent);
/* EEXIST, EINVAL: something else is where the pins are to be, or that place is in another instance's. */
Result<void> require_place(const Pins& pins);

/* What an `up` or `down` that was killed left among the pins. The next of either removes it first; with
 * the writer lock held, nobody else is at work on it. */
std::vector<std::string> left_over_pins(const Pins& pins);
Result<void> remove_left_over_pins(const Pins& pins);

}  // namespace ctnbpf
