/* Other programs' files as layouts. Where they are read as those programs read them, the corners are named
 * beside the code. */
#pragma once

#include <functional>
#include <string_view>

#include "layout.h"

namespace ctnbpf::config {

/* What has no counterpart here. */
struct Dropped {
  std::uint32_t line;
  std::string what; /* "FILE:LINE: dropped: ..." */
};

struct Imported {
  Layout layout;
  std::vector<Dropped> dropped; /* by line */
  /* What is wrong with the file; then the layout is nothing. */
  std::vector<Error> errors;

  void drop(const std::string& file, std::uint32_t line, const std::string& what);
  void complain(const std::string& file, std::uint32_t line, const std::string& what);
};

/* libcgroup's cgconfig.conf. Controllers that it mounts at one place are one hierarchy; without a mount all
 * groups are in `default`. */
Imported import_cgconfig(std::string_view text, const std::string& file);

/* Who is known on this machine: lines about others are skipped by libcgroup, too. */
struct Accounts {
  std::function<bool(const std::string&)> has_user;
  std::function<bool(const std::string&)> has_group;
};
Accounts machine_accounts();

/* libcgroup's cgrules.conf. */
Imported import_cgrules(std::string_view text, const std::string& file, const Accounts& accounts);

/* OpenVZ's CTID.conf: one container, `default:/CTID`. */
Imported import_vz(std::string_view text, const std::string& file);

/* What a controller of the kernel is here; empty: it has no counterpart. */
std::vector<std::string> subsystems_for(const std::string& controller);
/* The attribute that a file of a control group is here, such as `memset.mems` for `cpuset.mems`; or "". */
std::string attribute_for(const std::string& file);

}  // namespace ctnbpf::config
