#include "watch.h"

#define FUSE_USE_VERSION 35
#include <fuse3/fuse_lowlevel.h>

#include <chrono>
#include <optional>

#include "contents.h"
#include "ctnbpf/events.h"

namespace ctnbpf::containerfs {
namespace {

/* A refusal rings the bell of the events; that a first task comes, or the last one goes where nobody wants that
 * told, rings none: so often it is looked at, while somebody waits. */
constexpr int kLookEvery = 100; /* ms */

}  // namespace

std::string events_now(States& states, const Inode& inode) {
  static const Style kAny;
  auto state = states.look();
  if (!state || !Layout(kAny, **state).alive(inode)) return "";
  return events_of(**state, inode.slot);
}

void Watch::add(const void* opened, const Inode& inode, const std::string& seen,
                fuse_pollhandle* waiter) {
  std::lock_guard lock(mutex_);
  if (auto before = waiters_.find(opened); before != waiters_.end())
    fuse_pollhandle_destroy(before->second.handle);
  waiters_[opened] = {inode, seen, waiter};
  came_.notify_one();
}

void Watch::remove(const void* opened) {
  std::lock_guard lock(mutex_);
  auto found = waiters_.find(opened);
  if (found == waiters_.end()) return;
  fuse_pollhandle_destroy(found->second.handle);
  waiters_.erase(found);
}

void Watch::look() {
  std::lock_guard lock(mutex_);
  for (auto one = waiters_.begin(); one != waiters_.end();) {
    if (events_now(states_, one->second.inode) == one->second.seen) {
      ++one;
      continue;
    }
    (void)fuse_lowlevel_notify_poll(one->second.handle);
    fuse_pollhandle_destroy(one->second.handle);
    one = waiters_.erase(one);
  }
}

void Watch::run() {
  std::optional<EventReader> events;
  for (;;) {
    {
      std::unique_lock lock(mutex_);
      if (waiters_.empty()) events.reset(); /* it may be another load's by then */
      came_.wait(lock, [this] { return !waiters_.empty(); });
      if (!events)
        if (auto opened = EventReader::open(pins_, EventReader::From::kNow))
          events.emplace(std::move(*opened));
      if (!events) came_.wait_for(lock, std::chrono::milliseconds(kLookEvery));
    }
    look();
    if (!events) continue;
    while (events->next()) {
    }
    events->wait(kLookEvery);
  }
}

}  // namespace ctnbpf::containerfs
