/* A mistyped word, and the one that was probably meant. */
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace ctnbpf {

/* How many letters were left out, added, taken for others or swapped with their neighbour; `most` + 1 where
 * that is more than `most`. */
std::size_t distance(std::string_view a, std::string_view b, std::size_t most);

/* The one of `words` nearest to `given`, if it is near: one slip in three letters, a beginning, or the end
 * after a dot (`limit` for `numtasks.limit`). Empty: none. */
std::string nearest(std::string_view given, const std::vector<std::string>& words);

/* " did you mean `create`?", to stand after a colon, or nothing. */
std::string did_you_mean(std::string_view given, const std::vector<std::string>& words);

}  // namespace ctnbpf
