/* What a layout is applied to. The kernel is one (kernel_machine.h); tests have one in plain memory. */
#pragma once

#include "layout.h"
#include "ctnbpf/attributes.h"
#include "ctnbpf/containers.h"
#include "ctnbpf/subsystem.h"

namespace ctnbpf::config {

/* What can be looked at without changing anything. */
class View {
 public:
  virtual ~View() = default;

  /* What there is: of each container what a new one would not have. Containers that a command made for the
   * time it runs are left out. */
  virtual Result<Layout> read() = 0;
  /* What the default hierarchy is made of. */
  virtual std::vector<std::string> default_subsystems() = 0;
  /* ENOTSUP: it cannot keep what setting this attribute promises. */
  virtual Result<void> check_promise(const AttributeRef& attribute) = 0;
  /* ENOSPC: there cannot be so many more. */
  virtual Result<void> check_room(std::size_t hierarchies, std::size_t containers) = 0;
};

class Machine : public View {
 public:
  virtual Result<void> make_hierarchy(const std::string& name,
                                      const std::vector<std::string>& subsystems) = 0;
  virtual Result<void> make(const std::string& hierarchy, const Path& path) = 0;
  /* As if they had not been made. */
  virtual Result<void> unmake_hierarchy(const std::string& name) = 0;
  virtual Result<void> unmake(const std::string& hierarchy, const Path& path) = 0;
  virtual Result<std::string> get(const std::string& hierarchy, const Path& path,
                                  const AttributeRef& attribute) = 0;
  /* Nothing is changed if it is refused. */
  virtual Result<void> set(const std::string& hierarchy, const Path& path,
                           const AttributeRef& attribute, const std::string& value) = 0;
  /* EBUSY: it is in use. */
  virtual Result<void> remove(const std::string& hierarchy, const Path& path) = 0;
};

}  // namespace ctnbpf::config
