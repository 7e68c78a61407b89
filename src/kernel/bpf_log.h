/* What libbpf says while an object is loaded: kept for an Error's detail instead of printed. */
#pragma once

#include <bpf/libbpf.h>

#include <string>

namespace ctnbpf {

/* Collects libbpf's messages while it lives; not to be nested. */
class BpfLog {
 public:
  BpfLog();
  ~BpfLog();
  BpfLog(const BpfLog&) = delete;
  BpfLog& operator=(const BpfLog&) = delete;

  const std::string& text() const;

 private:
  libbpf_print_fn_t previous_;
};

}  // namespace ctnbpf
