#include "ctnbpf/pins.h"

#include <bpf/bpf.h>
#include <fmt/format.h>
#include <sys/stat.h>

#include <filesystem>

namespace ctnbpf {
namespace {

Result<UniqueFd> open_pin(const std::string& path) {
  int fd = bpf_obj_get(path.c_str());
  if (fd < 0) return system_error(-fd, fmt::format("open '{}'", path));
  return UniqueFd(fd);
}

}  // namespace

Pins::Pins(const std::string& root) : root_(root) {
  if (root == kDefaultPinRoot) return;
  namespace fs = std::filesystem;
  std::error_code error;
  fs::path whole = fs::weakly_canonical(fs::absolute(root, error), error);
  if (error) whole = fs::absolute(root, error).lexically_normal();
  if (!whole.has_filename()) whole = whole.parent_path();
  root_ = whole;
}

Pins::Pins(std::shared_ptr<PlainMemory> memory)
    : root_("plain memory"), memory_(std::move(memory)) {}

bool Pins::exist() const {
  if (memory_) return true;
  struct stat st;
  return ::stat(map("core").c_str(), &st) == 0;
}

Result<UniqueFd> Pins::open_map(const std::string& name) const { return open_pin(map(name)); }
Result<UniqueFd> Pins::open_prog(const std::string& name) const { return open_pin(prog(name)); }

}  // namespace ctnbpf
