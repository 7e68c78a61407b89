/* agentd */
#include <fmt/format.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <cstddef>
#include <cstdlib>
#include <cstring>

#include "context.h"
#include "ctnbpf/agentd.h"
#include "ctnbpf/unique_fd.h"

namespace ctnbpf::cli {
namespace {

/* The protocol of sd_notify(3): a datagram to the socket that systemd names; in the abstract namespace,
 * if it begins with '@'. Nobody listens where a service manager did not start us. */
void tell_systemd(const std::string& state) {
  const char* path = std::getenv("NOTIFY_SOCKET");
  sockaddr_un address = {};
  if (path == nullptr || std::strlen(path) >= sizeof(address.sun_path)) return;
  address.sun_family = AF_UNIX;
  std::strcpy(address.sun_path, path);
  if (address.sun_path[0] == '@') address.sun_path[0] = '\0';
  auto length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + std::strlen(path));
  UniqueFd socket(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  (void)::sendto(socket.get(), state.data(), state.size(), MSG_NOSIGNAL,
                 reinterpret_cast<sockaddr*>(&address), length);
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
  app.footer(
      "Starts `AGENT /path` when a container with notify_on_release becomes empty; AGENT is the\n"
      "attribute release_agent of its hierarchy's root. Removes containers whose `run` was killed.\n"
      "What happened while no agentd ran is dealt with at its start. Ends with SIGTERM, or when\n"
      "ctnbpf is taken down. ctnbpf-agentd.service is a unit of systemd's.");
  app.callback([&context] {
    if (auto done = agentd(context); !done) context.exit_code = fail(context, done.error());
  });
}

}  // namespace ctnbpf::cli
