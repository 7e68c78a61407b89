/* agentd */
#include <fmt/format.h>
#include <signal.h>
#include <sys/signalfd.h>

#include "context.h"
#include "ctnbpf/agentd.h"
#include "unique_fd.h"

#ifdef CTNBPF_SYSTEMD
#include <systemd/sd-daemon.h>
#endif

namespace ctnbpf::cli {
namespace {

void tell_systemd(const char* state) {
#ifdef CTNBPF_SYSTEMD
  (void)::sd_notify(0, state);
#else
  (void)state;
#endif
}

Result<void> agentd(const Context& context) {
  sigset_t ends;
  sigemptyset(&ends);
  for (int signal : {SIGINT, SIGTERM, SIGHUP}) sigaddset(&ends, signal);
  ::sigprocmask(SIG_BLOCK, &ends, nullptr);
  UniqueFd stop(::signalfd(-1, &ends, SFD_CLOEXEC));
  if (!stop.valid()) return system_error("wait for signals");
  auto done = serve_releases(
      context.pins(), stop.get(),
      [] {
        note("agentd is ready");
        tell_systemd("READY=1");
      },
      note);
  tell_systemd("STOPPING=1");
  return done;
}

}  // namespace

void add_agentd(CLI::App& app, Context& context) {
  app.footer("Starts `AGENT /path` when a container with notify_on_release becomes empty; AGENT is the\n"
             "attribute release_agent of its hierarchy's root. Removes containers whose `run` was killed.\n"
             "What happened while no agentd ran is dealt with at its start. Ends with SIGTERM, or when\n"
             "ctnbpf is taken down. scripts/ctnbpf-agentd.service is a unit for systemd.");
  app.callback([&context] {
    if (auto done = agentd(context); !done) context.exit_code = fail(context, done.error());
  });
}

}  // namespace ctnbpf::cli
