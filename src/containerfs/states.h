/* Looks at the tree that are kept for the next request: mapping it anew would be most of what a request costs. */
#pragma once

#include <sys/types.h>

#include <chrono>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "ctnbpf/state.h"
#include "ctnbpf/pins.h"

namespace ctnbpf::containerfs {

class States {
 public:
  /* A look that nobody else uses meanwhile. */
  class Lease {
   public:
    Lease(States& owner, ino_t load, std::unique_ptr<State> state)
        : owner_(&owner), load_(load), state_(std::move(state)) {}
    Lease(Lease&&) noexcept = default;
    ~Lease() {
      if (state_) owner_->give_back(load_, std::move(state_));
    }
    const State& operator*() const { return *state_; }

   private:
    States* owner_;
    ino_t load_;
    std::unique_ptr<State> state_;
  };

  explicit States(const Pins& pins) : pins_(pins) {}
  /* ENODEV: nothing is up. */
  Result<Lease> look();
  /* Lets go of what was not used for a while, so that what is taken down is freed. */
  [[noreturn]] void run();

 private:
  void give_back(ino_t load, std::unique_ptr<State> state);
  std::unique_ptr<State> take(ino_t load);

  const Pins& pins_;
  std::mutex mutex_;
  std::condition_variable came_;
  std::vector<std::unique_ptr<State>> idle_; /* all of one load */
  ino_t load_ = 0;
  std::chrono::steady_clock::time_point used_;
};

}  // namespace ctnbpf::containerfs
