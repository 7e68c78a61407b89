/* kill */
#include <fmt/format.h>
#include <signal.h>
#include <unistd.h>

#include <charconv>
#include <cstdio>
#include <utility>
#include <nlohmann/json.hpp>

#include "context.h"
#include "ctnbpf/kill.h"
#include "ctnbpf/nearest.h"
#include "ctnbpf/tree.h"

namespace ctnbpf::cli {
namespace {

constexpr double kKillTimeout = 10; /* seconds without one that ends, of SIGKILL */

struct Options {
  std::string address;
  std::string signal = "KILL";
  bool recursive = false;
  double timeout = -1;
};

/* "RTMIN", "RTMIN+3", "RTMAX-1": 0 is none of those. As the C library counts them, which keeps the first
 * two or three to itself. */
int real_time_signal(std::string_view name) {
  const bool from_first = name.starts_with("RTMIN");
  if (!from_first && !name.starts_with("RTMAX")) return 0;
  std::string_view rest = name.substr(5);
  if (rest.empty()) return from_first ? SIGRTMIN : SIGRTMAX;
  if (rest[0] != (from_first ? '+' : '-')) return 0;
  rest.remove_prefix(1);
  int steps = 0;
  auto [end, error] = std::from_chars(rest.data(), rest.data() + rest.size(), steps);
  if (error != std::errc() || end != rest.data() + rest.size() || steps < 0 ||
      steps > SIGRTMAX - SIGRTMIN)
    return 0;
  return from_first ? SIGRTMIN + steps : SIGRTMAX - steps;
}

/* "TERM", "SIGTERM", "term", "RTMIN+3" or "15". */
Result<int> parse_signal(const std::string& text) {
  int number = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error == std::errc() && end == text.data() + text.size() && number >= 1 && number <= SIGRTMAX)
    return number;
  std::string upper = text;
  for (char& c : upper) c = static_cast<char>(c >= 'a' && c <= 'z' ? c - 'a' + 'A' : c);
  std::string_view name = upper;
  if (name.starts_with("SIG")) name.remove_prefix(3);
  for (number = 1; number < NSIG; number++)
    if (const char* known = ::sigabbrev_np(number); known != nullptr && name == known)
      return number;
  if (number = real_time_signal(name); number != 0) return number;
  return Error{EINVAL,
               fmt::format("no signal '{}':{} use a name such as TERM or RTMIN+1, or a number "
                           "from 1 to {}",
                           printable(text), did_you_mean(name, signal_names()), SIGRTMAX)};
}

/* Also whether this very process is to get the signal, after the writer lock is gone. */
Result<bool> kill_container(const Context& context, const Options& options, int signal) {
  bool given = options.timeout >= 0;
  double timeout = given ? options.timeout : signal == SIGKILL ? kKillTimeout : 0;
  Patience patience{std::chrono::milliseconds(static_cast<int>(timeout * 1000)),
                    given || signal != SIGKILL};
  bool first = true; /* warnings are printed once */
  auto open = [&] {
    if (std::exchange(first, false))
      return open_writer(context, BringUp::kNo, Writer::Slots::kUsed);
    return Writer::open(context.pins(), Writer::Slots::kUsed);
  };
  CTN_ASSIGN(KillResult done,
             kill_tasks(open, options.address, signal, options.recursive, patience));
  if (context.json)
    print_json({{"signalled", done.signalled}, {"left", done.left}, {"self", done.self}});
  bool waited = signal == SIGKILL || timeout > 0;
  if (waited && done.left != 0)
    return Error{ETIMEDOUT,
                 fmt::format("{} still has {} task{} {:g} s after {}: see `ctnbpf ps {}{}`",
                             printable(done.container), done.left, done.left == 1 ? "" : "s",
                             timeout, patience.total ? "the signal" : "the last one ended",
                             options.recursive ? "-r " : "", printable(options.address))};
  return done.self;
}

}  // namespace

std::vector<std::string> signal_names() {
  std::vector<std::string> names;
  for (int number = 1; number < NSIG; number++)
    if (const char* known = ::sigabbrev_np(number); known != nullptr) names.emplace_back(known);
  return names;
}

void add_kill(CLI::App& app, Context& context) {
  auto options = std::make_shared<Options>();
  app.add_option("ADDR", options->address, "container")->required();
  app.add_option("-s,--signal", options->signal, "signal, by name (TERM, RTMIN+1) or number (KILL)")
      ->type_name("SIG");
  app.add_flag("-r,--recursive", options->recursive, "with all containers below");
  app.add_option("--timeout", options->timeout,
                 "how long to wait for the tasks to end, in all (KILL: 10 s from\n"
                 "the last one that ended; others: not at all)")
      ->type_name("SEC")
      ->check(seconds_between(0, 86400));
  app.footer(
      "With KILL no task of the container can fork from the first moment on, and it is empty when\n"
      "this ends; exit code 1 if tasks are left after the timeout. The process of `ctnbpf kill`\n"
      "itself comes last, if it is in the container.");
  app.callback([&context, options] {
    auto signal = parse_signal(options->signal);
    if (!signal) {
      report(context, signal.error());
      context.exit_code = kUsage;
      return;
    }
    auto self = kill_container(context, *options, *signal);
    if (!self)
      context.exit_code = fail(context, self.error());
    else if (*self) {
      std::fflush(stdout);
      (void)::raise(*signal);
    }
  });
}

}  // namespace ctnbpf::cli
