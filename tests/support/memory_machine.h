/* A machine in plain memory: hierarchies, containers and attributes, and the rules between them that the real
 * one has. */
#pragma once

#include <optional>

#include "config/machine.h"
#include "ctnbpf/attributes.h"
#include "ctnbpf/containers.h"

namespace ctnbpf::test {

class MemoryMachine final : public config::Machine {
 public:
  /* From here on so many changes are made, and the next is refused with EIO; what takes changes back is not. */
  void refuse_after(int changes) { left_ = changes; }
  void put_user(const std::string& hierarchy, const config::Path& path) {
    find(hierarchy, path)->users++;
  }

  Result<config::Layout> read() override;
  std::vector<std::string> default_subsystems() override;
  Result<void> check_promise(const AttributeRef& attribute) override;
  Result<void> check_room(std::size_t hierarchies, std::size_t containers) override;
  Result<void> make_hierarchy(const std::string& name,
                              const std::vector<std::string>& subsystems) override;
  Result<void> make(const std::string& hierarchy, const config::Path& path) override;
  Result<void> unmake_hierarchy(const std::string& name) override;
  Result<void> unmake(const std::string& hierarchy, const config::Path& path) override;
  Result<std::string> get(const std::string& hierarchy, const config::Path& path,
                          const AttributeRef& attribute) override;
  Result<void> set(const std::string& hierarchy, const config::Path& path,
                   const AttributeRef& attribute, const std::string& value) override;
  Result<void> remove(const std::string& hierarchy, const config::Path& path) override;

  /* How often a change was asked for. */
  int changes() const { return changes_; }
  bool accounting_only = false; /* no attribute with a promise can be set */

 private:
  config::Container* find(const std::string& hierarchy, const config::Path& path);
  Result<void> refusal();
  Result<void> check_cpus(const config::Hierarchy& in, const config::Path& path,
                          const std::string& cpus);
  Result<void> check_shares(const config::Hierarchy& in, const config::Path& path,
                            const std::string& text);

  config::Layout layout_;
  std::optional<int> left_;
  int changes_ = 0;
};

}  // namespace ctnbpf::test
