/* poll(2) on `events`: tells who waits when the text changes. */
#pragma once

#include <condition_variable>
#include <map>
#include <mutex>
#include <string>

#include "inode.h"
#include "states.h"

struct fuse_pollhandle;

namespace ctnbpf::containerfs {

class Watch {
 public:
  Watch(const Pins& pins, States& states) : pins_(pins), states_(states) {}
  /* `opened` waits until the text of `inode` is another than `seen`; owns `waiter`, which replaces one
   * before. */
  void add(const void* opened, const Inode& inode, const std::string& seen,
           fuse_pollhandle* waiter);
  void remove(const void* opened);
  [[noreturn]] void run();

 private:
  struct Waiter {
    Inode inode;
    std::string seen;
    fuse_pollhandle* handle;
  };
  void look();

  const Pins& pins_;
  States& states_;
  std::mutex mutex_;
  std::condition_variable came_;
  std::map<const void*, Waiter> waiters_;
};

/* The text now; empty: the container is gone. */
std::string events_now(States& states, const Inode& inode);

}  // namespace ctnbpf::containerfs
