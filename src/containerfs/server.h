/* The file system itself: FUSE's requests. Holds nothing that another server would not find again in the kernel,
 * but for .errors and what clients have open. */
#pragma once

#include <string>

#include "changes.h"
#include "journal.h"
#include "layout.h"
#include "ctnbpf/pins.h"
#include "states.h"
#include "watch.h"

struct fuse_session;

namespace ctnbpf::containerfs {

class Server {
 public:
  Server(const Pins& pins, Style style)
      : pins_(pins),
        style_(std::move(style)),
        states_(pins_),
        changes_(pins_),
        watch_(pins_, states_) {}
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  /* Mounts on `dir`; `options` are FUSE's own words. */
  Result<void> mount(const std::string& dir, const std::string& options);
  /* Serves until it is unmounted, or SIGTERM or SIGINT comes; then it is unmounted, too. */
  void serve();

  const Pins& pins() const { return pins_; }
  const Style& style() const { return style_; }
  States& states() { return states_; }
  Changes& changes() { return changes_; }
  Journal& journal() { return journal_; }
  Watch& watch() { return watch_; }

 private:
  void work();

  Pins pins_;
  Style style_;
  States states_;
  Changes changes_;
  Journal journal_;
  Watch watch_;
  fuse_session* session_ = nullptr;
};

}  // namespace ctnbpf::containerfs
