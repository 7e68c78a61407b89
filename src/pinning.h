/* What `up` and `down` are made of. */
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "loader.h"

namespace ctnbpf {

/* What is in the kernel for as long as this lives, and once pinned for good. */
class Loaded {
 public:
  /* Probes and loads. ENOTSUP: this kernel runs none of the hooks that count tasks. */
  static Result<Loaded> load(const LoadSettings& settings);
  Loaded(Loaded&&) noexcept;
  ~Loaded();

  /* Pins all of it, or nothing. With the writer lock. */
  Result<void> pin(const Pins& pins) const;

 private:
  struct Object;
  explicit Loaded(std::unique_ptr<Object> object);
  std::unique_ptr<Object> object_;
};

/* EEXIST, EINVAL: something else is where the pins are to be, or that place is in another instance's. */
Result<void> require_place(const Pins& pins);

/* What an `up` or `down` that was killed left among the pins. The next of either removes it first; with
 * the writer lock held, nobody else is at work on it. */
std::vector<std::string> left_over_pins(const Pins& pins);
Result<void> remove_left_over_pins(const Pins& pins);

}  // namespace ctnbpf
