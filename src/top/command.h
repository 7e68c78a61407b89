/* What keys of `top` do, done by the command: with its checks and its messages. */
#pragma once

#include <string>
#include <vector>

namespace ctnbpf::top {

/* Runs `ctnbpf` with `words`. What it says, in one line; `good` if it went well. */
std::string command_says(std::vector<std::string> words, bool& good);

}  // namespace ctnbpf::top
