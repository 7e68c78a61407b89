/* Sets of CPUs or memory nodes, and the list format of the kernel: "0-3,6". */
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "ctnbpf/result.h"

namespace ctnbpf {

/* Grows as indices are added; two sets are equal when they hold the same indices. */
class IndexSet {
 public:
  IndexSet() = default;
  explicit IndexSet(std::span<const std::uint64_t> words) : words_(words.begin(), words.end()) {
    trim();
  }

  void add(std::uint32_t index);
  bool has(std::uint32_t index) const;
  bool empty() const { return words_.empty(); }
  std::uint32_t count() const;

  bool within(const IndexSet& other) const;
  bool meets(const IndexSet& other) const;
  friend IndexSet operator&(const IndexSet& a, const IndexSet& b);
  friend IndexSet operator|(const IndexSet& a, const IndexSet& b);
  IndexSet without(const IndexSet& other) const;
  friend bool operator==(const IndexSet& a, const IndexSet& b) { return a.words_ == b.words_; }

  /* Bit n of word n / 64; without trailing zeroes. */
  std::span<const std::uint64_t> words() const { return words_; }
  std::uint64_t word(std::size_t at) const { return at < words_.size() ? words_[at] : 0; }

  /* The normal form: ascending, ranges joined, "" when empty. */
  std::string to_string() const;

 private:
  void trim();
  std::vector<std::uint64_t> words_; /* the last one is not zero */
};

/* Numbers and ranges parted by commas, in any order, overlapping or not; blanks may follow a comma, and
 * `:2/4` a range: the first two of every four of it. `all` are those `there`, `15%` the first of them, at
 * least one. A trailing newline is accepted; nothing at all is the empty set. EINVAL: malformed, or a range
 * that runs backwards. ERANGE: a number of `limit` or more. `attribute` names the input in messages. */
Result<IndexSet> parse_index_set(const std::string& attribute, std::string_view text,
                                 std::uint32_t limit, const IndexSet* there = nullptr);

}  // namespace ctnbpf
