#include "placement/index_set.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <charconv>

#include "ctnbpf/address.h"

namespace ctnbpf {

void IndexSet::trim() {
  while (!words_.empty() && words_.back() == 0) words_.pop_back();
}

void IndexSet::add(std::uint32_t index) {
  if (words_.size() <= index / 64) words_.resize(index / 64 + 1);
  words_[index / 64] |= std::uint64_t{1} << (index % 64);
}

bool IndexSet::has(std::uint32_t index) const {
  return (word(index / 64) >> (index % 64) & 1) != 0;
}

std::uint32_t IndexSet::count() const {
  int all = 0;
  for (std::uint64_t one : words_) all += std::popcount(one);
  return static_cast<std::uint32_t>(all);
}

bool IndexSet::within(const IndexSet& other) const { return without(other).empty(); }
bool IndexSet::meets(const IndexSet& other) const { return !(*this & other).empty(); }

IndexSet operator&(const IndexSet& a, const IndexSet& b) {
  IndexSet out = a;
  for (std::size_t i = 0; i < out.words_.size(); i++) out.words_[i] &= b.word(i);
  out.trim();
  return out;
}

IndexSet operator|(const IndexSet& a, const IndexSet& b) {
  IndexSet out = a.words_.size() >= b.words_.size() ? a : b;
  for (std::size_t i = 0; i < out.words_.size(); i++) out.words_[i] = a.word(i) | b.word(i);
  return out;
}

IndexSet IndexSet::without(const IndexSet& other) const {
  IndexSet out = *this;
  for (std::size_t i = 0; i < out.words_.size(); i++) out.words_[i] &= ~other.word(i);
  out.trim();
  return out;
}

std::string IndexSet::to_string() const {
  std::string out;
  auto end = static_cast<std::uint32_t>(words_.size() * 64);
  for (std::uint32_t first = 0; first < end; first++) {
    if (!has(first)) continue;
    std::uint32_t last = first;
    while (has(last + 1)) last++;
    out += fmt::format("{}{}", out.empty() ? "" : ",", first);
    if (last != first) out += fmt::format("-{}", last);
    first = last;
  }
  return out;
}

Result<IndexSet> parse_index_set(const std::string& attribute, std::string_view text,
                                 std::uint32_t limit) {
  std::string_view rest = text;
  if (rest.ends_with('\n')) rest.remove_suffix(1);
  auto bad = [&](int code, std::string_view rule) {
    return Error{code,
                 fmt::format("{} cannot be '{}': {}", attribute,
                             printable(text.substr(
                                 0, std::min(text.find_last_not_of('\n') + 1, std::size_t{80}))),
                             rule)};
  };
  auto malformed = [&] { return bad(EINVAL, "use numbers and ranges such as 0-3,6, or nothing"); };
  enum class Parsed { kNumber, kNone, kTooLarge };
  auto number = [&](std::uint32_t& out) {
    std::uint64_t wide = 0;
    auto [end, error] = std::from_chars(rest.data(), rest.data() + rest.size(), wide);
    if (end == rest.data()) return Parsed::kNone;
    rest.remove_prefix(static_cast<std::size_t>(end - rest.data()));
    if (error != std::errc() || wide >= limit) return Parsed::kTooLarge;
    out = static_cast<std::uint32_t>(wide);
    return Parsed::kNumber;
  };

  IndexSet out;
  bool too_large = false; /* said only of a list that is well formed otherwise */
  for (bool more = !rest.empty(); more;) {
    std::uint32_t first = 0;
    Parsed what = number(first);
    if (what == Parsed::kNone) return malformed();
    too_large = too_large || what == Parsed::kTooLarge;
    std::uint32_t last = first;
    if (rest.starts_with('-')) {
      rest.remove_prefix(1);
      what = number(last);
      if (what == Parsed::kNone) return malformed();
      too_large = too_large || what == Parsed::kTooLarge;
    }
    if (!too_large && last < first)
      return bad(EINVAL, fmt::format("the range {}-{} runs backwards", first, last));
    for (std::uint32_t i = first; !too_large && i <= last; i++) out.add(i);
    more = rest.starts_with(',');
    if (more)
      rest.remove_prefix(1);
    else if (!rest.empty())
      return malformed();
  }
  if (too_large) return bad(ERANGE, fmt::format("numbers go up to {}", limit - 1));
  return out;
}

}  // namespace ctnbpf
