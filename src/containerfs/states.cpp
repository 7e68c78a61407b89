#include "states.h"

#include <sys/stat.h>

namespace ctnbpf::containerfs {
namespace {

constexpr auto kIdle = std::chrono::seconds(1);

/* Which load is pinned now: each pin is an inode of its own. 0: none. */
ino_t pinned(const Pins& pins) {
  struct stat st = {};
  return ::stat(pins.map("core").c_str(), &st) == 0 ? st.st_ino : 0;
}

}  // namespace

std::unique_ptr<State> States::take(ino_t load) {
  std::lock_guard lock(mutex_);
  if (load != load_) idle_.clear();
  load_ = load;
  if (idle_.empty()) return nullptr;
  std::unique_ptr<State> state = std::move(idle_.back());
  idle_.pop_back();
  return state;
}

Result<States::Lease> States::look() {
  ino_t load = pinned(pins_);
  std::unique_ptr<State> state = take(load);
  /* It has mapped what was in use when it was opened. */
  if (state && state->nodes().size() < ctnbpf::load(state->core().high_slot)) state.reset();
  if (!state) {
    auto opened = State::open(pins_);
    if (!opened)
      return opened.error().code == ENOENT ? Error{ENODEV, opened.error().what} : opened.error();
    state = std::make_unique<State>(std::move(*opened));
  }
  return Lease(*this, load, std::move(state));
}

void States::give_back(ino_t load, std::unique_ptr<State> state) {
  std::lock_guard lock(mutex_);
  if (load != load_) return;
  if (idle_.empty()) came_.notify_one();
  idle_.push_back(std::move(state));
  used_ = std::chrono::steady_clock::now();
}

void States::run() {
  std::unique_lock lock(mutex_);
  for (;;) {
    came_.wait(lock, [this] { return !idle_.empty(); });
    came_.wait_until(lock, used_ + kIdle);
    if (std::chrono::steady_clock::now() >= used_ + kIdle) idle_.clear();
  }
}

}  // namespace ctnbpf::containerfs
