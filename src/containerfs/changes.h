/* What changes something: one at a time, in a thread of its own, so that who reads never waits for it. */
#pragma once

#include <sys/stat.h>

#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <optional>
#include <string>

#include "client.h"
#include "layout.h"
#include "ctnbpf/pins.h"

namespace ctnbpf::containerfs {

/* Runs jobs in the order they came, each with the writer lock. */
class Changes {
 public:
  /* Called once, with the Writer or the reason why there is none. */
  using Job = std::function<void(Result<Writer>& writer)>;
  explicit Changes(const Pins& pins) : pins_(pins) {}
  /* `slots`: what the job needs; kAll to make containers. */
  void submit(Writer::Slots slots, Job job);
  [[noreturn]] void run();

 private:
  struct Item {
    Writer::Slots slots;
    Job job;
  };
  Item next();
  bool more(Writer::Slots slots);

  const Pins& pins_;
  std::mutex mutex_;
  std::condition_variable came_;
  std::deque<Item> jobs_;
};

/* A write to a file: `text` is all of it. `opener` had it opened. */
Result<void> write_file(Writer& writer, const Inode& inode, const std::string& text,
                        const Client& opener, const Client& client);

Result<Slot> make_directory(Writer& writer, const Inode& parent, const std::string& name,
                            mode_t mode, const Client& client);
/* One that only references hold lingers. */
Result<void> remove_directory(Writer& writer, const Inode& parent, const std::string& name,
                              const Client& client);
/* EPERM for another parent: EXDEV would have mv(1) copy file by file. */
Result<void> rename_directory(Writer& writer, const Inode& parent, const std::string& name,
                              const Inode& to, const std::string& wanted, const Client& client);

struct NewStatus {
  std::optional<uid_t> uid;
  std::optional<gid_t> gid;
  std::optional<mode_t> mode;
};
Result<void> change_status(Writer& writer, const Inode& inode, const NewStatus& status,
                           const Client& client);

}  // namespace ctnbpf::containerfs
