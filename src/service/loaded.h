/* The programs and maps, from the BPF object to the pins. */
#pragma once

#include <memory>

#include "ctnbpf/service.h"

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

}  // namespace ctnbpf
