#include "ctnbpf/nearest.h"

#include <fmt/format.h>

#include <algorithm>

#include "ctnbpf/address.h"

namespace ctnbpf {

std::size_t distance(std::string_view a, std::string_view b, std::size_t most) {
  if (a.size() > b.size() + most || b.size() > a.size() + most) return most + 1;
  std::vector<std::size_t> before_last(b.size() + 1);
  std::vector<std::size_t> last(b.size() + 1);
  std::vector<std::size_t> now(b.size() + 1);
  for (std::size_t j = 0; j <= b.size(); j++) last[j] = j;
  for (std::size_t i = 1; i <= a.size(); i++) {
    now[0] = i;
    std::size_t least = i;
    for (std::size_t j = 1; j <= b.size(); j++) {
      bool same = a[i - 1] == b[j - 1];
      now[j] = std::min({last[j] + 1, now[j - 1] + 1, last[j - 1] + (same ? 0 : 1)});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
        now[j] = std::min(now[j], before_last[j - 2] + 1);
      least = std::min(least, now[j]);
    }
    if (least > most) return most + 1;
    std::swap(before_last, last);
    std::swap(last, now);
  }
  return std::min(last[b.size()], most + 1);
}

std::string nearest(std::string_view given, const std::vector<std::string>& words) {
  constexpr std::size_t kLongest = 255; /* a name; what is longer is no slip */
  constexpr std::size_t kBeginning = 3; /* letters that are one */
  if (given.size() < 2 || given.size() > kLongest) return "";
  const std::size_t most = (given.size() + 1) / 3;
  std::size_t least = most + 1;
  const std::string* found = nullptr;
  for (const std::string& word : words) {
    std::size_t far = distance(given, word, least - 1);
    bool part = given.size() >= kBeginning &&
                (word.starts_with(given) || word.ends_with("." + std::string(given)));
    if (part) far = std::min<std::size_t>(far, 1);
    if (far >= least) continue;
    found = &word;
    least = far;
    if (least == 0) break;
  }
  return found == nullptr ? "" : *found;
}

std::string did_you_mean(std::string_view given, const std::vector<std::string>& words) {
  std::string word = nearest(given, words);
  return word.empty() ? "" : fmt::format(" did you mean `{}`?", printable(word));
}

}  // namespace ctnbpf
