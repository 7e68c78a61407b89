#include "kernel/perf_hook.h"

#include <bpf/bpf.h>
#include <fmt/format.h>
#include <linux/perf_event.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <fstream>

namespace ctnbpf::hooks {
namespace {

constexpr std::string_view kKprobe = "kprobe/";
constexpr std::string_view kKretprobe = "kretprobe/"; /* at the return of the function */
constexpr std::string_view kTracepoint = "tp/";

Result<std::uint64_t> read_number(const std::string& path) {
  std::ifstream file(path);
  std::uint64_t number = 0;
  if (!(file >> number)) return Error{ENOENT, fmt::format("read '{}'", path)};
  return number;
}

/* tracefs may be mounted at its old place only, and by whoever looks there. */
Result<std::uint64_t> tracepoint_number(std::string_view name) {
  auto number = read_number(fmt::format("/sys/kernel/tracing/events/{}/id", name));
  return number ? number : read_number(fmt::format("/sys/kernel/debug/tracing/events/{}/id", name));
}

constexpr std::string_view kKprobes = "/sys/bus/event_source/devices/kprobe";

/* Which bit of `config` makes a kprobe one of returns: "config:0" in a file of its own. */
Result<std::uint64_t> retprobe_bit() {
  std::string path = fmt::format("{}/format/retprobe", kKprobes);
  std::ifstream file(path);
  std::string word;
  std::uint64_t bit = 0;
  if (!std::getline(file, word, ':') || !(file >> bit))
    return Error{ENOENT, fmt::format("read '{}'", path)};
  return std::uint64_t{1} << bit;
}

}  // namespace

bool is_perf_hook(std::string_view hook) {
  return hook.starts_with(kKprobe) || hook.starts_with(kKretprobe) || hook.starts_with(kTracepoint);
}

Result<UniqueFd> attach_by_perf(const UniqueFd& program, std::string_view hook) {
  bool tracepoint = hook.starts_with(kTracepoint);
  std::string name(hook.substr(tracepoint ? kTracepoint.size() : hook.find('/') + 1));
  perf_event_attr attr = {};
  attr.size = sizeof(attr);
  if (!tracepoint) {
    CTN_ASSIGN(auto type, read_number(fmt::format("{}/type", kKprobes)));
    if (hook.starts_with(kKretprobe)) {
      CTN_ASSIGN(attr.config, retprobe_bit());
    }
    attr.type = static_cast<__u32>(type);
    attr.config1 = reinterpret_cast<std::uintptr_t>(name.c_str());
  } else {
    CTN_ASSIGN(attr.config, tracepoint_number(name));
    attr.type = PERF_TYPE_TRACEPOINT;
  }
  /* The event counts on one CPU and nobody reads it; its programs run on all. */
  UniqueFd event(static_cast<int>(
      ::syscall(SYS_perf_event_open, &attr, -1 /* pid */, 0 /* cpu */, -1, PERF_FLAG_FD_CLOEXEC)));
  if (!event.valid()) return system_error(fmt::format("make an event of '{}'", hook));
  int link = bpf_link_create(program.get(), event.get(), BPF_PERF_EVENT, nullptr);
  if (link < 0) return system_error(-link, fmt::format("attach a program to '{}'", hook));
  return UniqueFd(link);
}

}  // namespace ctnbpf::hooks
