/* Files for programs: what `ctnbpf` of a user who is not root reads and writes. Their form is between these two
 * and no interface: docs/containerfs.md names them, and says so. */
#pragma once

#include <string>

#include "client.h"
#include "layout.h"

namespace ctnbpf::containerfs {

/* .hierarchies: a line each: name, directory below the mount ("." where it is the mount), and its subsystems,
 * each with its level. */
std::string hierarchies_text(const State& state, const Style& style);

/* .attributes: a line each: name, `number` or `text`, value. */
Result<std::string> attributes_text(const State& state, Slot slot);

/* .stat: `column` lines, then for the container and each below that the client can see a `container` line and
 * its `note` lines. */
Result<std::string> stat_text(const State& state, Slot slot, const Client& client);

/* .exec: what a command has to be told before it is executed here. */
Result<std::string> exec_text(const State& state, Slot slot);

/* What somebody wrote to .where or .explain before reading it. */
struct Question {
  pid_t number = 0; /* as the asker's pid namespace has it; 0: the asker */
  Client asker;
};
Result<Question> parse_question(const std::string& text, const Client& asker);

/* .where: an address a line; of a container that was removed, with `(removed)` behind the hierarchy. EPERM: it is
 * another user's process, of `opener` or of who asks. */
Result<std::string> where_text(const State& state, const Question& question, const Client& opener);
/* .explain: pid, tid and name; then a bound a line. */
Result<std::string> explain_text(const State& state, const Question& question,
                                 const Client& opener);

}  // namespace ctnbpf::containerfs
