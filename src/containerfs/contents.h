/* What is read from files. */
#pragma once

#include <string>

#include "client.h"
#include "layout.h"

namespace ctnbpf::containerfs {

/* Of every kind of file but .errors, whose text is the server's own, and those that answer questions. */
Result<std::string> contents(const Layout& layout, const Style& style, const Inode& inode,
                             const Client& client);

/* Of the file `events`: what poll(2) waits for a change of. */
std::string events_of(const State& state, Slot slot);

}  // namespace ctnbpf::containerfs
