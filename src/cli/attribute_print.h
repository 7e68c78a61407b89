/* How `get` prints what it read. */
#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "context.h"
#include "ctnbpf/subsystem.h"

namespace ctnbpf::cli {

class AttributePrinter {
 public:
  AttributePrinter(const Context& context, bool bare, bool recursive)
      : context_(context), bare_(bare), recursive_(recursive) {}

  /* What follows is of this container. */
  void begin(const std::string& address);
  void attribute(const std::string& name, const Value& value);
  void end() const;

 private:
  const Context& context_;
  const bool bare_;
  const bool recursive_;
  nlohmann::ordered_json json_ = nlohmann::ordered_json::array();
};

}  // namespace ctnbpf::cli
