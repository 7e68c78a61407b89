/* The programs and maps, from the BPF object to the pins. */
#pragma once

#include <memory>
#include <span>

#include "ctnbpf/service.h"

namespace ctnbpf {

/* How many places a table for so many objects has: a third of them is free when it is as full as it may be (see
 * CTN_KEY_TRIES). */
std::uint32_t places_for(std::uint32_t objects);
/* How such a table is shared out: a 64th is each container's own, a quarter is not lent. */
ctn_lending lending_of(std::uint32_t objects);

/* The core record of an instance that has nothing yet. */
void begin_core(ctn_core& core, const LoadSettings& settings,
                std::span<const std::uint32_t, CTN_HOOKS_NR> levels, std::uint32_t cpus);

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
