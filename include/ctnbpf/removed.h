/* Removed containers: those that linger, and the tombstones of those that are gone. */
#pragma once

#include <string>
#include <vector>

#include "ctnbpf/subsystem.h"

namespace ctnbpf {

/* A removed container and its figures: the last ones, or where it lingers those of now. */
struct Removed {
  std::string address; /* at the end; one of a very deep container has "..." for its first part */
  std::uint64_t created_ns = 0; /* CLOCK_REALTIME */
  std::uint64_t removed_ns = 0;
  bool lingering = false;
  struct Part {
    const Subsystem* subsystem;
    std::optional<Figures> figures;
    std::vector<std::pair<const Attribute*, std::uint64_t>>
        kept; /* attributes with a `kept` place */
  };
  std::vector<Part> parts; /* of the subsystems it had, in table order */
};

/* Of the last CTN_TOMBS ones at most, in the order they were removed. No lock. */
Result<std::vector<Removed>> removed_containers(const State& state);

/* The address that the container (slot, generation) had, which is gone for good; empty where its tombstone
 * is no more. No lock. */
std::string removed_address(const State& state, Slot slot, std::uint32_t generation);

}  // namespace ctnbpf
