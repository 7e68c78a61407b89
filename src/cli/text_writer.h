/* Text written piece by piece, quickly: what prints a line for each of 65,536 containers. */
#pragma once

#include <charconv>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <memory>
#include <string_view>

#include "ctnbpf/abi.h"

namespace ctnbpf::cli {

/* What it could not write shows in ferror(), which a command looks at when it ends. */
class TextWriter {
 public:
  explicit TextWriter(std::FILE* file) : file_(file) {}
  TextWriter(const TextWriter&) = delete;
  TextWriter& operator=(const TextWriter&) = delete;
  ~TextWriter() { flush(); }

  void text(std::string_view text) {
    if (text.size() > kSize - used_) {
      flush();
      if (text.size() > kSize) {
        (void)std::fwrite(text.data(), 1, text.size(), file_);
        return;
      }
    }
    std::memcpy(buffer_.get() + used_, text.data(), text.size());
    used_ += text.size();
  }
  void character(char c) { text({&c, 1}); }
  /* CTN_UNLIMITED as `unlimited`. */
  void number(std::uint64_t value, std::string_view unlimited) {
    if (value == CTN_UNLIMITED) {
      text(unlimited);
      return;
    }
    constexpr std::size_t kDigits = 20;
    if (kSize - used_ < kDigits) flush();
    char* begin = buffer_.get() + used_;
    used_ += static_cast<std::size_t>(std::to_chars(begin, begin + kDigits, value).ptr - begin);
  }

 private:
  static constexpr std::size_t kSize = 1 << 16;

  void flush() {
    (void)std::fwrite(buffer_.get(), 1, used_, file_);
    used_ = 0;
  }

  std::FILE* file_;
  std::unique_ptr<char[]> buffer_{new char[kSize]};
  std::size_t used_ = 0;
};

}  // namespace ctnbpf::cli
