/* What an inode number says: which file of which use of which slot. So the server needs no tables, and a number
 * that outlives its container is known as such. */
#pragma once

#include <cstdint>

#include "ctnbpf/state.h"

namespace ctnbpf::containerfs {

/* Kinds of files; from kCore on an attribute of the core, from kSubsystems on one of a subsystem. */
enum FileNumber : std::uint32_t {
  kTop =
      1, /* the root of the mount, whatever that is; with slot and generation 0 FUSE's own number for it */
  kDirectory,
  kTasks,
  kProcs,
  kEvents,
  kErrors,
  kUserBeancounters,
  kStat,
  kAttributes,
  kSet,
  kExec,
  kHierarchies,
  kWhere,
  kExplain,
  kCore = 16,
  kSubsystems = 512,
};
inline constexpr std::uint32_t kAttributesEach = 32; /* of a subsystem, at most */
static_assert(kSubsystems + CTN_MAX_SUBSYS * kAttributesEach <= 1024);

struct Inode {
  std::uint32_t file = kTop;
  Slot slot = 0;
  std::uint32_t generation = 0;

  std::uint64_t number() const {
    return file | std::uint64_t{slot} << kFileBits | std::uint64_t{generation} << 32;
  }
  static Inode of(std::uint64_t number) {
    return {static_cast<std::uint32_t>(number & ((1U << kFileBits) - 1)),
            static_cast<Slot>(number & 0xffffffff) >> kFileBits,
            static_cast<std::uint32_t>(number >> 32)};
  }
  bool operator==(const Inode&) const = default;

 private:
  static constexpr int kFileBits = 10; /* slots are below 2^22 */
};

}  // namespace ctnbpf::containerfs
