/* What the fuzzers share: each is one function that is given any bytes, and ends the process where a promise is
 * broken. */
#pragma once

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>

#define CTN_FUZZ(text)                                                                \
  static void one_input(std::string_view text);                                       \
  extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) { \
    one_input({reinterpret_cast<const char*>(data), size});                           \
    return 0;                                                                         \
  }                                                                                   \
  static void one_input(std::string_view text)

#define CTN_MUST(what)                                                        \
  do {                                                                        \
    if (!(what)) {                                                            \
      std::fprintf(stderr, "%s:%d: broken: %s\n", __FILE__, __LINE__, #what); \
      std::abort();                                                           \
    }                                                                         \
  } while (false)

namespace ctnbpf::fuzz {

/* Takes numbers and texts off the front of an input; zeroes and nothing when it is used up. */
class Input {
 public:
  explicit Input(std::string_view bytes) : bytes_(bytes) {}

  bool empty() const { return bytes_.empty(); }
  std::uint8_t byte() {
    if (bytes_.empty()) return 0;
    auto first = static_cast<std::uint8_t>(bytes_[0]);
    bytes_.remove_prefix(1);
    return first;
  }
  std::uint32_t below(std::uint32_t limit) { return limit == 0 ? 0 : byte() % limit; }
  /* Up to a zero byte. */
  std::string text() {
    std::size_t end = bytes_.find('\0');
    std::string found(bytes_.substr(0, end));
    bytes_.remove_prefix(end == std::string_view::npos ? bytes_.size() : end + 1);
    return found;
  }

 private:
  std::string_view bytes_;
};

}  // namespace ctnbpf::fuzz
