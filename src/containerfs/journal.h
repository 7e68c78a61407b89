/* The sentences behind the errno that clients got: the file .errors. */
#pragma once

#include <deque>
#include <mutex>
#include <string>

#include "client.h"

namespace ctnbpf::containerfs {

class Journal {
 public:
  void add(const Client& client, const std::string& path, const std::string& sentence);
  /* For this reader: all for root, else those of its own user. */
  std::string text(uid_t reader) const;

 private:
  static constexpr std::size_t kKept = 256;
  struct Line {
    uid_t uid;
    std::string text;
  };
  mutable std::mutex mutex_;
  std::deque<Line> lines_;
};

}  // namespace ctnbpf::containerfs
