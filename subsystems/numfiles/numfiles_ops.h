/* The numfiles subsystem's table, for the registry; and who holds charged files. */
#pragma once

#include <vector>

#include "ctnbpf/files.h"
#include "ctnbpf/levels.h"
#include "ctnbpf/subsystem.h"
#include "kernel/hooks.h"
#include "numfiles/numfiles.h"

namespace ctnbpf {

extern const Subsystem kNumfiles;

/* Every descriptor of every process whose file is charged to a container. Files that are held
 * otherwise (mapped, sent and not yet received) are not seen. */
Result<std::vector<ctn_walk_file>> walk_files(const Pins& pins);

/* The charges themselves: one for each charged file, whoever holds it. */
Result<std::vector<ctn_file>> charged_files(const State& state);

/* Where open files are charged and refused. */
enum class FileGate {
  kNone,
  kAlloc, /* as they are allocated, whatever they are */
  kOpen, /* the allocation is closed to LSM programs (from 6.19 on): as they are opened, as the inodes of
             pipes, sockets and memory are made, and at the system calls that make the others */
};

FileGate numfiles_gate(const Levels& levels);

namespace hooks {
extern const HookTable kNumfilesHooks;
}

}  // namespace ctnbpf
