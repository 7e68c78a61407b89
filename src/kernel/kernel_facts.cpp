/* Facts about the running kernel that explain a level, and the cure. */
#include <fmt/format.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <fstream>
#include <sstream>

#include "ctnbpf/levels.h"

namespace ctnbpf {
namespace {

bool read_file(const char* path, std::string& text) {
  std::ifstream file(path);
  if (!file) return false;
  std::ostringstream all;
  all << file.rdbuf();
  text = all.str();
  while (!text.empty() && text.back() == '\n') text.pop_back();
  return true;
}

bool has_word(const std::string& list, const std::string& word) {
  return ("," + list + ",").find("," + word + ",") != std::string::npos;
}

}  // namespace

const char* level_name(std::uint32_t level) {
  switch (level) {
    case CTN_LEVEL_STRICT: return "strict";
    case CTN_LEVEL_FALLBACK: return "fallback";
    case CTN_LEVEL_ACCOUNTING: return "accounting";
    default: return "none";
  }
}

KernelFacts kernel_facts() {
  KernelFacts facts;
  utsname name = {};
  ::uname(&name);
  facts.release = name.release;
  facts.lsm_known = read_file("/sys/kernel/security/lsm", facts.lsm);
  facts.lsm_has_bpf = has_word(facts.lsm, "bpf");
  facts.btf = ::access("/sys/kernel/btf/vmlinux", R_OK) == 0;
  std::string preempt;
  if (read_file("/sys/kernel/debug/sched/preempt", preempt)) {
    std::size_t open = preempt.find('(');
    std::size_t close = preempt.find(')');
    if (open != std::string::npos && close > open)
      facts.preempt = preempt.substr(open + 1, close - open - 1);
  }
  return facts;
}

std::string cure_for(const Levels& levels, const KernelFacts& facts) {
  if (levels.task() == CTN_LEVEL_STRICT) return {};
  if (facts.lsm_known && !facts.lsm_has_bpf) {
    /* The kernel's own list names `capability` (and early LSMs) by itself; lsm= takes the others. */
    std::string line;
    std::istringstream parts(facts.lsm);
    for (std::string one; std::getline(parts, one, ',');)
      if (one != "capability") line += one + ",";
    return fmt::format("boot with `lsm={}bpf` on the kernel command line", line);
  }
  if (!facts.lsm_known)
    return "use a kernel with CONFIG_BPF_LSM=y and boot it with `bpf` in lsm= (this one does not show "
           "its LSM list; if securityfs is not mounted: `mount -t securityfs none "
           "/sys/kernel/security`)";
  return "use a kernel with CONFIG_BPF_LSM=y and BPF trampolines (x86-64: any distribution kernel from "
         "6.1 on; arm64: from 6.4 on, as Debian 13 has it)";
}

}  // namespace ctnbpf
