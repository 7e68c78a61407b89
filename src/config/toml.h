/* Layouts as TOML. One table a container, by its address; the root's is the hierarchy's:
 *
 *   ["limits:/"]
 *   subsystems = ["numtasks", "numfiles"]
 *
 *   ["limits:/build"]
 *   numtasks.limit = 64
 *
 *   [[rules]]
 *   user = "@students"
 *   to = ["limits:/build"]
 */
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "layout.h"
#include "ctnbpf/address.h"

namespace ctnbpf::config {

/* A file as it is written: which hierarchy an address means, and what a value comes to, is not said yet. */
struct Entry {
  std::string key; /* "numtasks.limit" */
  std::string text;
  Where where;
};
struct Table {
  Address address;
  std::optional<std::vector<std::string>> subsystems;
  Where subsystems_where;
  std::vector<Entry> entries; /* in the order of the file */
  Where where;
};
struct Document {
  std::vector<Table> tables; /* in the order of the file */
  std::vector<Rule> rules;
};

/* All that is wrong, each with file, line and column; where the text is no TOML, the first. */
struct Parsed {
  Document document;
  std::vector<Error> errors;
};
Parsed parse_toml(std::string_view text, const std::string& file);

/* The normal form: hierarchies as they come, containers by path, attributes in table order. */
std::string to_toml(const Layout& layout);

}  // namespace ctnbpf::config
