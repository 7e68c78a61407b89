#include "journal.h"

#include <fmt/format.h>

#include <ctime>

#include "ctnbpf/address.h"

namespace ctnbpf::containerfs {

void Journal::add(const Client& client, const std::string& path, const std::string& sentence) {
  std::time_t now = std::time(nullptr);
  std::tm parts = {};
  ::gmtime_r(&now, &parts);
  char time[32] = {};
  (void)std::strftime(time, sizeof(time), "%Y-%m-%dT%H:%M:%SZ", &parts);
  std::lock_guard lock(mutex_);
  lines_.push_back({client.uid, fmt::format("{} {} {} {} {}\n", time, client.thread, client.uid,
                                            path, harmless(sentence))});
  if (lines_.size() > kKept) lines_.pop_front();
}

std::string Journal::text(uid_t reader) const {
  std::lock_guard lock(mutex_);
  std::string text;
  for (const Line& line : lines_)
    if (reader == 0 || line.uid == reader) text += line.text;
  return text;
}

}  // namespace ctnbpf::containerfs
