/* The state in the kernel as the control plane sees it: pinned arrays mapped into memory.
 *
 * State is the readers' view. It never locks and never waits; a figure is what it was at some
 * moment of the read, and a container may go while it is looked at, so walks are bounded and check
 * `generation` where that matters. Writer adds the writer lock and the right to change. */
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "ctnbpf/abi.h"
#include "ctnbpf/atomics.h"
#include "ctnbpf/result.h"

namespace ctnbpf {

class Mapping;
class Pins;
class UniqueFd;
using Slot = std::uint32_t;

class State {
 public:
  /* ENOENT: not up. EPROTO: pins of another layout. EACCES/EPERM: not root. */
  static Result<State> open(const Pins& pins);
  State(State&&) noexcept;
  State& operator=(State&&) noexcept;
  virtual ~State();

  const Pins& pins() const { return *pins_; }
  const ctn_core& core() const { return *core_; }
  std::span<const ctn_node> nodes() const { return nodes_; }
  std::span<const ctn_info> infos() const { return infos_; }
  std::span<const std::uint64_t> name_index() const { return name_index_; }

  /* A subsystem's array by slot, with `each` records a slot. The span is as long as nodes(), or
   * `each` times that. */
  template <typename T>
  Result<std::span<const T>> records(std::string_view map, std::uint32_t each = 1) const {
    CTN_ASSIGN(void* data, map_records(map, sizeof(T), each));
    return std::span<const T>(static_cast<const T*>(data), nodes_.size() * each);
  }

  /* An array of another kind, with `count` records. */
  template <typename T>
  Result<std::span<const T>> array(std::string_view map, std::uint32_t count) const {
    CTN_ASSIGN(void* data, map_array(map, sizeof(T), count));
    return std::span<const T>(static_cast<const T*>(data), count);
  }

  /* Of a map that array() has mapped, kept: whoever removes a million containers asks for it at each. */
  Result<int> descriptor_of(std::string_view map) const;

 protected:
  State();
  enum class Slots { kAll, kUsed /* those that a container ever was in */ };
  Result<void> load(const Pins& pins, bool writable, Slots slots);
  Result<void*> map_records(std::string_view map, std::uint32_t value_size,
                            std::uint32_t each) const;
  Result<void*> map_array(std::string_view map, std::uint32_t value_size,
                          std::uint32_t count) const;

  std::unique_ptr<Pins> pins_;
  bool writable_ = false;
  ctn_core* core_ = nullptr;
  std::span<ctn_node> nodes_;
  std::span<ctn_info> infos_;
  std::span<std::uint64_t> name_index_;

 private:
  struct Mapped;
  mutable std::vector<Mapped> mappings_; /* few, and asked for at each figure of each container */
};

/* The one process that may change the state. Holds the writer lock (released by the kernel when the
 * process ends, however it ends) and keeps `core.dirty` set meanwhile: whoever takes the lock and
 * finds it set puts right what a killed writer may have left half-done. */
class Writer : public State {
 public:
  using State::Slots;
  /* Takes the lock, finishes what a killed writer began, and has the subsystems look at the machine
   * (src/service/writer.cpp). With kUsed, which is a third of the work, it can make
   * no more than 64 containers. */
  static Result<Writer> open(const Pins& pins, Slots slots = Slots::kAll);
  /* With the lock already taken (take_writer_lock). */
  static Result<Writer> open(const Pins& pins, UniqueFd lock, Slots slots = Slots::kAll);

  /* What open() is made of: the state as it is, with the lock; was a writer killed; and from here on this
   * one is at work. */
  static Result<Writer> take(const Pins& pins, UniqueFd lock, Slots slots);
  bool interrupted() const { return interrupted_; }
  void begin();

  Writer(Writer&&) noexcept;
  ~Writer() override;

  ctn_core& core() { return *core_; }
  std::span<ctn_node> nodes() { return nodes_; }
  std::span<ctn_info> infos() { return infos_; }
  std::span<std::uint64_t> name_index() { return name_index_; }
  using State::core;
  using State::infos;
  using State::name_index;
  using State::nodes;

  /* Values that settings of the command at work are about to store, by the word: a rule between two
   * attributes is checked against what comes before it in the same command. */
  std::map<const void*, std::uint64_t>& pending() { return pending_; }

  /* What a subsystem could not bring in line with the machine when this was opened; the next one tries
   * again. */
  std::vector<Error>& troubles() { return troubles_; }
  const std::vector<Error>& troubles() const { return troubles_; }

  /* Has `then` be called once the lock is released, at the end of this Writer: for what may block for as
   * long as somebody else likes, such as printing. */
  void when_released(std::function<void()> then);

  /* Has the command at work been allowed to move tasks out of what a service manager made for them? */
  bool may_move() const { return may_move_; }
  void allow_moves(bool allowed) { may_move_ = allowed; }

  template <typename T>
  Result<std::span<T>> records(std::string_view map, std::uint32_t each = 1) {
    CTN_ASSIGN(void* data, map_records(map, sizeof(T), each));
    return std::span<T>(static_cast<T*>(data), nodes_.size() * each);
  }

  template <typename T>
  Result<std::span<T>> array(std::string_view map, std::uint32_t count) {
    CTN_ASSIGN(void* data, map_array(map, sizeof(T), count));
    return std::span<T>(static_cast<T*>(data), count);
  }

 private:
  Writer();
  struct Lock;
  std::unique_ptr<Lock> lock_;
  std::map<const void*, std::uint64_t> pending_;
  std::vector<Error> troubles_;
  bool may_move_ = false;
  bool interrupted_ = false;
  bool begun_ = false;
};

inline std::uint32_t live_tasks(const ctn_node& node) {
  return static_cast<std::uint32_t>(load(node.population) >> 32);
}
inline std::uint32_t task_records(const ctn_node& node) {
  return static_cast<std::uint32_t>(load(node.population));
}

}  // namespace ctnbpf
