/* Events: what happened to containers, as the kernel side logged it. Source: the maps `events` (the
 * last CTN_EVENT_LOG records) and `bell` (wakes who waits). Any number of readers, none of which
 * takes anything from another. */
#pragma once

#include <cstdint>
#include <memory>
#include <optional>

#include "ctnbpf/abi.h"
#include "ctnbpf/result.h"

namespace ctnbpf {

class Pins;
class State;
class Writer;
using Slot = std::uint32_t;

class EventReader {
 public:
  enum class From { kOldest, kNow };
  /* ENOENT: not up. */
  static Result<EventReader> open(const Pins& pins, From from);
  EventReader(EventReader&&) noexcept;
  ~EventReader();

  /* The next event; none when there is no newer one yet, or it is still being written (held()). */
  std::optional<ctn_event> next();
  /* Has next() come to where the log ended when this was opened? */
  bool caught_up() const;
  /* The same record as it is now: refusals may have been counted in it since. None if it was replaced, which
   * counts as one lost. */
  std::optional<ctn_event> again(const ctn_event& event);
  /* Did next() find one that is being written? Its writer may have been interrupted; wait() waits for it.
   * One that is not there within 2 s counts as lost. */
  bool held() const;
  /* How many events were replaced before next() came to them, or are not there, or were refusals that found no
   * room (core.refusals_untold), since this was last asked. */
  std::uint64_t take_lost();

  /* Waits until next() may have something, `fd` (-1: none) can be read, a signal is delivered, or
   * `timeout_ms` (-1: for ever) is over; what it was is for the caller to find out. Call it only
   * when next() had nothing. */
  void wait(int timeout_ms, int fd = -1);

 private:
  struct Impl;
  explicit EventReader(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

/* "fork-refused", "fork-rate-refused", "file-refused", "released", "gone", "emptied" */
const char* event_name(std::uint32_t kind);

}  // namespace ctnbpf
