/* The machine that ctnbpf is up on, as a layout. */
#pragma once

#include "machine.h"
#include "ctnbpf/attributes.h"
#include "ctnbpf/containers.h"
#include "ctnbpf/state.h"

namespace ctnbpf::config {

Result<Layout> read_layout(const State& state);

class KernelView final : public View {
 public:
  explicit KernelView(const State& state) : state_(state) {}

  Result<Layout> read() override { return read_layout(state_); }
  std::vector<std::string> default_subsystems() override;
  Result<void> check_promise(const AttributeRef& attribute) override;
  Result<void> check_room(std::size_t hierarchies, std::size_t containers) override;

 private:
  const State& state_;
};

class KernelMachine final : public Machine {
 public:
  explicit KernelMachine(Writer& writer) : writer_(writer), view_(writer) {}

  Result<Layout> read() override { return view_.read(); }
  std::vector<std::string> default_subsystems() override { return view_.default_subsystems(); }
  Result<void> check_promise(const AttributeRef& attribute) override {
    return view_.check_promise(attribute);
  }
  Result<void> check_room(std::size_t hierarchies, std::size_t containers) override {
    return view_.check_room(hierarchies, containers);
  }

  Result<void> make_hierarchy(const std::string& name,
                              const std::vector<std::string>& subsystems) override;
  Result<void> make(const std::string& hierarchy, const Path& path) override;
  Result<void> unmake_hierarchy(const std::string& name) override;
  Result<void> unmake(const std::string& hierarchy, const Path& path) override;
  Result<std::string> get(const std::string& hierarchy, const Path& path,
                          const AttributeRef& attribute) override;
  Result<void> set(const std::string& hierarchy, const Path& path, const AttributeRef& attribute,
                   const std::string& value) override;
  Result<void> remove(const std::string& hierarchy, const Path& path) override;

 private:
  Writer& writer_;
  KernelView view_;
};

}  // namespace ctnbpf::config
