/* What `ctnbpf` of a user who is not root works through: containers as root has mounted them (src/containerfs). */
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "ctnbpf/address.h"
#include "ctnbpf/result.h"

namespace ctnbpf::user {

struct Hierarchy {
  std::string name;
  std::string mount; /* the root of the mount it is seen through */
  std::string dir;   /* its root container */
  std::vector<std::pair<std::string, std::uint32_t>> subsystems; /* with their levels */

  /* "cpuacct,numtasks" */
  std::string subsystem_list() const;
};

/* A container, which may be there or not. */
struct Place {
  const Hierarchy* hierarchy;
  std::vector<std::string> path;

  std::string dir() const;
  std::string file(const char* name) const { return dir() + "/" + name; }
  /* To be printed. */
  std::string address() const;
  bool is_root() const { return path.empty(); }
  Place parent() const;
  Place child(const std::string& name) const;
};

class Mounts {
 public:
  /* Those of root alone: what another user mounts could show anything. ENOENT: there is none to be seen. */
  static Result<Mounts> find();

  const std::vector<Hierarchy>& all() const { return all_; }
  /* By its own name, or by that of a subsystem bound to it. ENOENT. */
  Result<const Hierarchy*> hierarchy(std::string_view name) const;
  Result<Place> parse(const std::string& address) const;
  /* ENOENT: there is no such container. EACCES: the way to it is closed. */
  Result<Place> container(const std::string& address) const;

 private:
  std::vector<Hierarchy> all_;
};

}  // namespace ctnbpf::user
