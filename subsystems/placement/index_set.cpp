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

namespace {

/* Reads a list from its beginning; `error` says what is wrong with it. */
class ListReader {
 public:
  ListReader(std::string_view text, std::uint32_t limit, const IndexSet* there)
      : rest_(text), limit_(limit), there_(there) {}

  struct Wrong {
    int code = 0;
    std::string rule;
  };

  /* The whole of it into `out`. */
  Wrong read(IndexSet& out) {
    for (bool more = !rest_.empty(); more;) {
      if (!item(out)) return wrong_.code != 0 ? wrong_ : malformed();
      more = skip(',');
      while (more && skip(' ')) continue;
      if (!more && !rest_.empty()) return malformed();
    }
    /* Said only of a list that is well formed otherwise. */
    if (too_large_) return {ERANGE, fmt::format("numbers go up to {}", limit_ - 1)};
    return {};
  }

 private:
  static Wrong malformed() {
    return {EINVAL, "use numbers and ranges such as 0-3,6, all, 15%, 0-31:2/4, or nothing"};
  }
  bool fail(const std::string& rule) {
    wrong_ = {EINVAL, rule};
    return false;
  }

  bool skip(char c) {
    if (!rest_.starts_with(c)) return false;
    rest_.remove_prefix(1);
    return true;
  }

  bool number(std::uint64_t& out) {
    auto [end, error] = std::from_chars(rest_.data(), rest_.data() + rest_.size(), out);
    if (end == rest_.data()) return false;
    rest_.remove_prefix(static_cast<std::size_t>(end - rest_.data()));
    if (error != std::errc()) out = ~0ULL;
    return true;
  }

  /* `all`, `15%`, `6`, `0-3` or `0-31:2/4`. */
  bool item(IndexSet& out) {
    IndexSet part;
    std::uint64_t first = 0;
    if (rest_.starts_with("all")) {
      rest_.remove_prefix(3);
      if (there_ == nullptr) return false;
      part = *there_;
    } else if (!number(first)) {
      return false;
    } else if (skip('%')) {
      if (there_ == nullptr) return false;
      if (first < 1 || first > 100) return fail("use 1% to 100%");
      return add_first((there_->count() * first + 99) / 100, out);
    } else {
      std::uint64_t last = first;
      if (skip('-') && !number(last)) return false;
      too_large_ = too_large_ || first >= limit_ || last >= limit_;
      if (!too_large_ && last < first)
        return fail(fmt::format("the range {}-{} runs backwards", first, last));
      for (std::uint64_t i = first; !too_large_ && i <= last; i++)
        part.add(static_cast<std::uint32_t>(i));
    }
    return stride(part, out);
  }

  /* The first `used` of every `group` of `part`, counted from its first number on. */
  bool stride(const IndexSet& part, IndexSet& out) {
    std::uint64_t used = 1;
    std::uint64_t group = 1;
    if (skip(':')) {
      if (!number(used) || !skip('/') || !number(group)) return false;
      if (used < 1 || used > group)
        return fail(
            fmt::format("the stride {}/{} takes none, or more than there are: use 1/2 for every "
                        "other one",
                        used, group));
    }
    const auto end = static_cast<std::uint32_t>(part.words().size() * 64);
    std::uint32_t first = 0;
    while (first < end && !part.has(first)) first++;
    for (std::uint32_t i = first; i < end; i++)
      if (part.has(i) && (i - first) % group < used) out.add(i);
    return true;
  }

  bool add_first(std::uint64_t count, IndexSet& out) {
    for (std::uint32_t i = 0; count > 0; i++) {
      if (!there_->has(i)) continue;
      out.add(i);
      count--;
    }
    return true;
  }

  std::string_view rest_;
  const std::uint32_t limit_;
  const IndexSet* there_;
  bool too_large_ = false;
  Wrong wrong_;
};

}  // namespace

Result<IndexSet> parse_index_set(const std::string& attribute, std::string_view text,
                                 std::uint32_t limit, const IndexSet* there) {
  std::string_view list = text;
  if (list.ends_with('\n')) list.remove_suffix(1);
  IndexSet out;
  ListReader::Wrong wrong = ListReader(list, limit, there).read(out);
  if (wrong.code == 0) return out;
  std::size_t shown = std::min(text.find_last_not_of('\n') + 1, std::size_t{80});
  return Error{wrong.code, fmt::format("{} cannot be '{}': {}", attribute,
                                       printable(text.substr(0, shown)), wrong.rule)};
}

}  // namespace ctnbpf
