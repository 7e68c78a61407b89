/* ctnbpf in plain memory: everything but programs and tasks, without privileges. */
#pragma once

#include <memory>

#include "ctnbpf/pins.h"
#include "ctnbpf/state.h"

namespace ctnbpf::test {

class PlainState {
 public:
  /* All groups of hooks are at level strict. */
  explicit PlainState(std::uint32_t containers = 256);

  const Pins& pins() const { return pins_; }
  /* The one at a time that may change it. */
  Writer writer() const;
  State state() const;

 private:
  Pins pins_;
};

}  // namespace ctnbpf::test
