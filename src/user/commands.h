/* Commands as users who are not root have them: the same options, by way of files. */
#pragma once

#include <CLI/CLI.hpp>
#include <optional>
#include <string>
#include <vector>

#include "context.h"
#include "mounts.h"

namespace ctnbpf::user {

/* What was given on the command line. */
class Given {
 public:
  explicit Given(const CLI::App& app) : app_(app) {}
  bool has(const std::string& option) const { return app_.get_option(option)->count() > 0; }
  std::vector<std::string> all(const std::string& option) const {
    return app_.get_option(option)->results();
  }
  /* The first, or the last one of an option; empty: it is not given. */
  std::string one(const std::string& option) const {
    auto values = all(option);
    return values.empty() ? "" : values.back();
  }
  const CLI::App& app() const { return app_; }

 private:
  const CLI::App& app_;
};

/* Each returns the exit code. */
using Act = int (*)(const cli::Context& context, const Mounts& mounts, const Given& given);

int create(const cli::Context& context, const Mounts& mounts, const Given& given);
int rm(const cli::Context& context, const Mounts& mounts, const Given& given);
int rename(const cli::Context& context, const Mounts& mounts, const Given& given);
int set(const cli::Context& context, const Mounts& mounts, const Given& given);
int attach(const cli::Context& context, const Mounts& mounts, const Given& given);
int get(const cli::Context& context, const Mounts& mounts, const Given& given);
int ps(const cli::Context& context, const Mounts& mounts, const Given& given);
int where(const cli::Context& context, const Mounts& mounts, const Given& given);
int explain(const cli::Context& context, const Mounts& mounts, const Given& given);
int tree(const cli::Context& context, const Mounts& mounts, const Given& given);
int stat(const cli::Context& context, const Mounts& mounts, const Given& given);
int run(const cli::Context& context, const Mounts& mounts, const Given& given);

/* --- what they share --- */

/* Makes a container. EEXIST, EACCES ... */
Result<void> make(const Place& place);
/* Removes one; who only has open files charged lingers. */
Result<void> remove(const Place& place);
/* All of them, or none. */
Result<void> set_all(const Place& place, const std::vector<std::string>& settings,
                     bool best_effort);
/* The task `number`, or with 0 this process; with `thread` that thread alone. */
Result<void> move(const Place& place, const std::string& number, bool thread);

/* What is made is removed again, the last first, unless it is kept. */
class Made {
 public:
  Made() = default;
  Made(const Made&) = delete;
  Made& operator=(const Made&) = delete;
  ~Made() { undo(); }
  /* Makes `place`, and with `parents` what is missing above. */
  Result<void> make_path(const Place& place, bool parents);
  void keep() { places_.clear(); }
  void undo();

 private:
  std::vector<Place> places_;
};

/* As text gives it: a number, or text. */
struct Read {
  std::string name;
  bool number;
  std::string value; /* as it is printed */
};
Result<std::vector<Read>> read_attributes(const Place& place);

/* The containers a process is in, of the hierarchies that are mounted: an address each. */
struct Where {
  std::string hierarchy;
  std::string path; /* to be printed */
  bool removed;
};
Result<std::vector<Where>> places_of(const Mounts& mounts, const std::string& pid);

}  // namespace ctnbpf::user
