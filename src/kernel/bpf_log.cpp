#include "kernel/bpf_log.h"

#include <cstdarg>
#include <cstdio>
#include <vector>

namespace ctnbpf {
namespace {

std::string& collected() {
  static std::string text;
  return text;
}

int collect(libbpf_print_level level, const char* format, va_list args) {
  if (level == LIBBPF_DEBUG) return 0;
  va_list again;
  va_copy(again, args);
  int length = std::vsnprintf(nullptr, 0, format, args);
  if (length > 0) {
    std::vector<char> text(static_cast<std::size_t>(length) + 1);
    std::vsnprintf(text.data(), text.size(), format, again);
    collected().append(text.data(), static_cast<std::size_t>(length));
  }
  va_end(again);
  return length;
}

}  // namespace

BpfLog::BpfLog() : previous_(libbpf_set_print(collect)) { collected().clear(); }
BpfLog::~BpfLog() { libbpf_set_print(previous_); }
const std::string& BpfLog::text() const { return collected(); }

}  // namespace ctnbpf
