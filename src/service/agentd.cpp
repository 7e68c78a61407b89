/* Nothing is kept here: a container that became empty says so in its node (`releases`), and how many
 * of those were dealt with is beside its name (`announced`, stored after the agent was started). So
 * an agentd that was killed, or was not running, misses none; one that is killed between the two
 * starts the agent once more. */
#include "ctnbpf/agentd.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/netlink.h>
#include <spawn.h>
#include <sys/epoll.h>
#include <sys/inotify.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <csignal>
#include <map>
#include <utility>
#include <vector>

#include "ctnbpf/containers.h"
#include "ctnbpf/events.h"
#include "ctnbpf/fsck.h"
#include "ctnbpf/state.h"
#include "ctnbpf/tree.h"
#include "ctnbpf/owners.h"
#include "ctnbpf/pins.h"
#include "ctnbpf/unique_fd.h"

namespace ctnbpf {
namespace {

/* As the kernel of 2006 gave it to release agents. */
constexpr const char* kAgentPath =
    "PATH=/sbin:/bin:/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin";
constexpr const char* kAgentHome = "HOME=/";

std::string start_agent(const std::string& agent, const std::string& path) {
  posix_spawnattr_t attributes;
  ::posix_spawnattr_init(&attributes);
  sigset_t none;
  sigemptyset(&none);
  sigset_t all;
  sigfillset(&all);
  ::posix_spawnattr_setsigmask(&attributes, &none);
  ::posix_spawnattr_setsigdefault(&attributes, &all);
  ::posix_spawnattr_setflags(&attributes,
                             POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSID);
  posix_spawn_file_actions_t files;
  ::posix_spawn_file_actions_init(&files);
  ::posix_spawn_file_actions_addopen(&files, 0, "/dev/null", O_RDONLY, 0);
  /* Also those that agentd was started with. */
  ::posix_spawn_file_actions_addclosefrom_np(&files, STDERR_FILENO + 1);
  char* argv[] = {const_cast<char*>(agent.c_str()), const_cast<char*>(path.c_str()), nullptr};
  char* envp[] = {const_cast<char*>(kAgentPath), const_cast<char*>(kAgentHome), nullptr};
  pid_t pid = 0;
  int error = ::posix_spawn(&pid, agent.c_str(), &files, &attributes, argv, envp);
  ::posix_spawn_file_actions_destroy(&files);
  ::posix_spawnattr_destroy(&attributes);
  return error == 0 ? "" : std::strerror(error);
}

class Agentd {
 public:
  Agentd(const Pins& pins, int stop_fd, const std::function<void(const std::string&)>& log)
      : pins_(pins),
        stop_fd_(stop_fd),
        log_(log),
        wake_(::epoll_create1(EPOLL_CLOEXEC)),
        taken_down_(::inotify_init1(IN_CLOEXEC | IN_NONBLOCK)),
        hotplug_(
            ::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_KOBJECT_UEVENT)) {
    watch(stop_fd_);
    sockaddr_nl from_kernel = {};
    from_kernel.nl_family = AF_NETLINK;
    from_kernel.nl_groups = 1;
    if (::bind(hotplug_.get(), reinterpret_cast<sockaddr*>(&from_kernel), sizeof(from_kernel)) == 0)
      watch(hotplug_.get());
    if (::inotify_add_watch(taken_down_.get(), pins.root().c_str(), IN_MOVED_FROM) >= 0)
      watch(taken_down_.get());
  }

  int wake_fd() const { return wake_.get(); }
  /* Is it to stop? `woken`: an owner ended, or the pins may have gone. */
  bool stopped(bool& woken) {
    epoll_event event = {};
    bool stop = false;
    while (::epoll_wait(wake_.get(), &event, 1, 0) == 1) {
      stop = stop || event.data.fd == stop_fd_;
      if (event.data.fd == hotplug_.get()) {
        woken = machine_changed() || woken;
        continue;
      }
      woken = true;
      if (event.data.fd == taken_down_.get()) {
        char buffer[4096];
        while (::read(taken_down_.get(), buffer, sizeof(buffer)) > 0) {
        }
      } else if (event.data.fd == stop_fd_) {
        break;
      } else {
        owners_.erase(event.data.fd);
      }
    }
    return stop;
  }

  /* Did a CPU or memory come or go? Opening the state has the subsystems look at that. */
  bool machine_changed() const {
    bool any = false;
    char text[8192];
    for (;;) {
      ssize_t got = ::recv(hotplug_.get(), text, sizeof(text), 0);
      if (got < 0 && errno == ENOBUFS)
        any = true; /* some are lost: look anyway */
      else if (got <= 0)
        return any;
      else
        any =
            any || std::string_view(text, static_cast<std::size_t>(got)).find("/devices/system/") !=
                       std::string_view::npos;
    }
  }

  /* Did the last sweep meet something that may pass by itself? */
  bool unsure() const { return unsure_; }

  /* Deals with everything that is to be done now, and says so when the writer lock is released: whoever reads
   * that may be slow. */
  Result<void> sweep() {
    Result<void> done = sweep_locked();
    for (const std::string& line : std::exchange(said_, {})) log_(line);
    return done;
  }

 private:
  void say(const std::string& line) { said_.push_back(line); }

  Result<void> sweep_locked() {
    CTN_ASSIGN(Writer writer, Writer::open(pins_));
    log_troubles(writer);
    for (Slot slot = CTN_MAX_HIER; slot < writer.core().high_slot; slot++) announce(writer, slot);
    for (const std::string& removed : sweep_transient(writer))
      say(fmt::format("removed {}, left behind by a `run` that died", removed));
    if (std::uint32_t freed = tree::sweep_lingering(writer); freed != 0)
      say(fmt::format("freed {} removed container{}", freed, freed == 1 ? "" : "s"));
    Owners owners(pins_);
    for (Slot slot = CTN_MAX_HIER; slot < writer.core().high_slot; slot++)
      watch_owner(writer, owners, slot);
    return {};
  }

  /* What is gone a moment later, such as a CPU on its way, is no trouble: told when it is met twice in a
   * row, and once. */
  void log_troubles(const Writer& writer) {
    std::map<std::string, bool> now;
    unsure_ = false;
    for (const Error& trouble : writer.troubles()) {
      auto before = troubles_.find(trouble.what);
      bool again = before != troubles_.end();
      if (again && !before->second) say(fmt::format("warning: {}", trouble.what));
      now[trouble.what] = again;
      unsure_ = unsure_ || !again;
    }
    troubles_ = std::move(now);
  }

  void watch(int fd) {
    epoll_event wanted = {};
    wanted.events = EPOLLIN;
    wanted.data.fd = fd;
    ::epoll_ctl(wake_.get(), EPOLL_CTL_ADD, fd, &wanted);
  }

  void announce(Writer& writer, Slot slot) {
    const ctn_node& node = writer.nodes()[slot];
    std::uint32_t& announced = writer.infos()[slot].announced;
    std::uint32_t releases = load(node.releases);
    if (node.state != CTN_ACTIVE || announced == releases) return;
    const char* text = writer.core().hierarchies[node.hierarchy % CTN_MAX_HIER].release_agent;
    std::string agent(text, ::strnlen(text, CTN_NAME_MAX));
    bool notify = (node.flags & CTN_NOTIFY_ON_RELEASE) != 0;
    std::string path = tree::path_of(writer, slot);
    while (notify && !agent.empty() && announced != releases) {
      std::string error = start_agent(agent, path);
      say(error.empty() ? fmt::format("{} released: started {}", printable(path), printable(agent))
                        : fmt::format("{} released: cannot start {}: {}", printable(path),
                                      printable(agent), error));
      store(announced, announced + 1);
    }
    store(announced, releases);
  }

  /* To be there when a `run` ends without having removed its container. */
  void watch_owner(const Writer& writer, Owners& owners, Slot slot) {
    const ctn_node& node = writer.nodes()[slot];
    if (node.state != CTN_ACTIVE || (node.flags & CTN_TRANSIENT) == 0) return;
    std::uint32_t pid = writer.infos()[slot].owner_pid;
    for (const auto& [fd, owner] : owners_)
      if (owner.second == pid) return;
    pid_t number = owners.number(writer.infos()[slot]);
    UniqueFd held(number == 0 ? -1 : static_cast<int>(::syscall(SYS_pidfd_open, number, 0)));
    if (!held.valid()) return;
    watch(held.get());
    int fd = held.get();
    owners_.emplace(fd, std::make_pair(std::move(held), pid));
  }

  const Pins& pins_;
  int stop_fd_;
  const std::function<void(const std::string&)>& log_;
  std::vector<std::string> said_; /* under the lock, and not yet to log_ */
  UniqueFd wake_;
  UniqueFd taken_down_;
  UniqueFd hotplug_;                     /* the kernel's tidings of devices */
  std::map<std::string, bool> troubles_; /* of the last sweep: was it told? */
  bool unsure_ = false;
  std::map<int, std::pair<UniqueFd, std::uint32_t>> owners_; /* by pidfd: itself, global pid */
};

}  // namespace

Result<void> serve_releases(const Pins& pins, int stop_fd, const std::function<void()>& ready,
                            const std::function<void(const std::string&)>& log) {
  /* For what tells nobody: a `run` killed before its command was in its container. */
  constexpr int kSweepMs = 60'000;
  /* Once more after we were woken: a CPU may come or go while its tidings are dealt with. Likewise after
   * something went wrong. */
  constexpr int kSettleMs = 1000;
  std::signal(SIGCHLD, SIG_IGN); /* agents are not waited for */
  CTN_ASSIGN(EventReader events, EventReader::open(pins, EventReader::From::kNow));
  Agentd agentd(pins, stop_fd, log);
  CTN_TRY(agentd.sweep());
  ready();
  auto swept_at = std::chrono::steady_clock::now();
  int period = agentd.unsure() ? kSettleMs : kSweepMs;
  for (;;) {
    bool any = false;
    while (auto event = events.next())
      any = any || event->kind == CTN_EVENT_RELEASED || event->kind == CTN_EVENT_GONE ||
            event->kind == CTN_EVENT_STRAYED;
    any = any || events.take_lost() != 0;
    if (!any) {
      auto wait = swept_at + std::chrono::milliseconds(period) - std::chrono::steady_clock::now();
      auto rest = std::chrono::duration_cast<std::chrono::milliseconds>(wait).count();
      if (rest > 0) events.wait(static_cast<int>(rest), agentd.wake_fd());
      bool woken = false;
      if (agentd.stopped(woken)) return {};
      /* The bell also rings for refusals, which are none of our business: a sweep takes the lock. */
      if (rest > 0 && !woken) continue;
      period = woken ? kSettleMs : kSweepMs;
    }
    swept_at = std::chrono::steady_clock::now();
    if (auto swept = agentd.sweep(); !swept) {
      if (pins.exist()) return swept;
      log("ctnbpf was taken down");
      return {};
    }
    if (agentd.unsure()) period = kSettleMs;
  }
}

}  // namespace ctnbpf
