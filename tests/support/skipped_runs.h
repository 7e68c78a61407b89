/* Which of our programs the kernel skipped, and how often. */
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "ctnbpf/program_stats.h"

namespace ctnbpf::test {

/* Since it was made. */
class SkippedRuns {
 public:
  explicit SkippedRuns(const Pins& pins) : pins_(pins), before_(now()) {}

  std::uint64_t sum() const {
    std::uint64_t all = 0;
    for (const auto& [name, count] : now()) all += count - before(name);
    return all;
  }

  /* "a_file_alloc 12, x_file_noacct 3" */
  std::string each() const {
    std::string text;
    for (const auto& [name, count] : now())
      if (count != before(name))
        text += (text.empty() ? "" : ", ") + name + " " + std::to_string(count - before(name));
    return text.empty() ? "none" : text;
  }

 private:
  std::map<std::string, std::uint64_t> now() const {
    std::map<std::string, std::uint64_t> all;
    if (auto stats = program_stats(pins_, 0))
      for (const ProgramStats& one : *stats) all[one.name] += one.skipped;
    return all;
  }
  std::uint64_t before(const std::string& name) const {
    auto found = before_.find(name);
    return found == before_.end() ? 0 : found->second;
  }

  const Pins& pins_;
  std::map<std::string, std::uint64_t> before_;
};

}  // namespace ctnbpf::test
