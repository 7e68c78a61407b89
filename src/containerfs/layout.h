/* Which files there are, what they are called and who may do what with them. */
#pragma once

#include <sys/stat.h>

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "ctnbpf/ownership.h"
#include "ctnbpf/attributes.h"
#include "ctnbpf/state.h"
#include "ctnbpf/subsystem.h"
#include "inode.h"

namespace ctnbpf::containerfs {

/* What a mount is of, and how its files are called. */
struct Style {
  std::string hierarchy; /* its name; empty: all of them, each a directory */
  bool prefix = true;    /* `numtasks.limit`, not `limit` */
  bool cpuset = false;   /* the files of the cpuset file system, by its names */
};

struct Entry {
  std::string name;
  Inode inode;
};

/* One look at the tree through a mount. */
class Layout {
 public:
  Layout(const Style& style, const State& state) : style_(style), state_(state) {}

  const State& state() const { return state_; }
  /* Of the root of the mount: what it stands for. ENOENT: that hierarchy is gone. */
  Result<Inode> resolve(Inode inode) const;
  /* Does what the (resolved) number names still exist? */
  bool alive(const Inode& inode) const;
  Inode directory(Slot slot) const { return of(kDirectory, slot); }
  Inode of(std::uint32_t file, Slot slot) const { return {file, slot, generation(slot)}; }

  /* Of a directory: its files, then its containers. */
  std::vector<Entry> list(const Inode& dir, bool top) const;
  std::optional<Inode> find(const Inode& dir, bool top, std::string_view name) const;
  /* The attribute such a file has; the subsystem must be there. */
  static std::optional<AttributeRef> attribute(const Inode& inode);
  Ownership ownership(const Inode& inode) const;
  struct stat status(const Inode& inode, std::uint64_t number) const;
  /* "default:/a/numtasks.limit", to be printed. */
  std::string path(const Inode& inode) const;

 private:
  std::uint32_t generation(Slot slot) const;
  std::vector<Entry> files(const Inode& dir, bool top) const;
  std::optional<Inode> find_file(const Inode& dir, bool top, std::string_view name) const;
  std::vector<Slot> children(Slot slot) const;

  const Style& style_;
  const State& state_;
};

bool is_directory(const Inode& inode);

}  // namespace ctnbpf::containerfs
