/* Text written piece by piece, quickly: what prints a line for each of 65,536 containers. */
#pragma once

#include <charconv>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <memory>
#include <string_view>

#include "ctnbpf/abi.h"

namespace ctnbpf::metrics {

/* What it could not write shows in ferror(), which a command looks at when it ends. */
class TextWriter {
 public:
  explicit TextWriter(std::FILE* file) : file_(file) {}
  TextWriter(const TextWriter&) = delete;
  TextWriter& operator=(const TextWriter&) = delete;
  ~TextWriter() { flush(); }

  /* Several pieces at once: room for `size` bytes, of which those up to what wrote() is told are text. */
  char* room(std::size_t size) {
    if (size > size_ - used_) make_room(size);
    return buffer_.get() + used_;
  }
  void wrote(const char* end) { used_ = static_cast<std::size_t>(end - buffer_.get()); }

  void text(std::string_view text) { wrote(put(room(text.size()), text)); }
  void character(char c) { text({&c, 1}); }
  /* CTN_UNLIMITED as `unlimited`. */
  void number(std::uint64_t value, std::string_view unlimited) {
    if (value == CTN_UNLIMITED)
      text(unlimited);
    else
      wrote(put(room(kDigits), value));
  }

  /* Into room that there is; the end of what was put there. */
  static constexpr std::size_t kDigits = 20; /* of a number, at most */
  static char* put(char* to, std::string_view text) {
    std::memcpy(to, text.data(), text.size());
    return to + text.size();
  }
  static char* put(char* to, std::uint64_t number) {
    return std::to_chars(to, to + kDigits, number).ptr;
  }

 private:
  void make_room(std::size_t size) {
    flush();
    if (size <= size_) return;
    buffer_.reset(new char[size]);
    size_ = size;
  }
  void flush() {
    (void)std::fwrite(buffer_.get(), 1, used_, file_);
    used_ = 0;
  }

  std::FILE* file_;
  std::size_t size_ = 1 << 16;
  std::unique_ptr<char[]> buffer_{new char[size_]};
  std::size_t used_ = 0;
};

}  // namespace ctnbpf::metrics
