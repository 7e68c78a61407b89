/* Who holds the open files that are charged to containers. Source: the table of files and an iterator over
 * descriptors. */
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "ctnbpf/state.h"

namespace ctnbpf {

/* A descriptor whose file is charged. */
struct FileHolder {
  std::uint32_t tgid; /* as this pid namespace knows it, as tid */
  std::uint32_t tid;
  std::uint32_t fd;
  Slot slot;            /* charged */
  std::uint32_t record; /* the same for every descriptor of one file */
  std::string comm;
};

/* Are files of this hierarchy's containers charged to them? */
bool charges_files(const State& state, std::uint32_t hierarchy);

/* Every descriptor of every process whose file is charged to a container. Files that are held
 * otherwise (mapped, sent and not yet received) are not seen. */
Result<std::vector<FileHolder>> file_holders(const Pins& pins);

/* The container of each charge there is, whoever holds the file. */
Result<std::vector<Slot>> charged_to(const State& state);

}  // namespace ctnbpf
