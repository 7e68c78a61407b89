/* apply, save and import, once their options are read. Each returns the exit code. */
#pragma once

#include <string>
#include <vector>

#include "context.h"

namespace ctnbpf::layout {

struct ApplyOptions {
  std::vector<std::string> files;
  bool check = false;
  bool diff = false;
  bool prune = false;
  bool best_effort = false;
};
int apply(const cli::Context& context, const ApplyOptions& options);

int save(const cli::Context& context, const std::vector<std::string>& hierarchies);

struct ImportOptions {
  std::string format;
  std::string file;
  bool lenient = false;
};
int import(const cli::Context& context, const ImportOptions& options);

/* All of a file; `-` is standard input. */
Result<std::string> read_file(const std::string& name);

}  // namespace ctnbpf::layout
