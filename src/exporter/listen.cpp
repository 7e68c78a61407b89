#include "listen.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <netdb.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <memory>

#include "ctnbpf/address.h"

namespace ctnbpf::exporter {
namespace {

constexpr int kFirstHandedOver = 3; /* SD_LISTEN_FDS_START */
constexpr int kBacklog = 64;

Result<UniqueFd> handed_over() {
  const char* pid = std::getenv("LISTEN_PID");
  const char* count = std::getenv("LISTEN_FDS");
  if (pid == nullptr || count == nullptr || std::atol(pid) != ::getpid()) return UniqueFd();
  if (std::atol(count) != 1)
    return Error{EINVAL, fmt::format("{} sockets were handed over: give one ListenStream=",
                                     printable(count))};
  int is = 0;
  socklen_t size = sizeof(is);
  if (::getsockopt(kFirstHandedOver, SOL_SOCKET, SO_ACCEPTCONN, &is, &size) != 0 || is == 0)
    return Error{EINVAL, "what was handed over is no socket that listens: use ListenStream="};
  ::fcntl(kFirstHandedOver, F_SETFD, FD_CLOEXEC);
  return UniqueFd(kFirstHandedOver);
}

/* Does somebody listen there? */
bool is_served(const sockaddr_un& address) {
  UniqueFd probe(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  return ::connect(probe.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0;
}

Result<UniqueFd> on_path(const std::string& path) {
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  if (path.empty() || path[0] != '/' || path.size() >= sizeof(address.sun_path))
    return Error{EINVAL, fmt::format("'unix:{}': give a path from / on of at most {} bytes",
                                     printable(path), sizeof(address.sun_path) - 1)};
  std::memcpy(address.sun_path, path.data(), path.size());
  struct stat there = {};
  if (::lstat(path.c_str(), &there) == 0) {
    if (!S_ISSOCK(there.st_mode) || is_served(address))
      return Error{EADDRINUSE, fmt::format("'{}' is {}", printable(path),
                                           S_ISSOCK(there.st_mode) ? "served by another program"
                                                                   : "there and is no socket")};
    ::unlink(path.c_str());
  }
  UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  mode_t mask = ::umask(0117);
  bool bound = fd.valid() &&
               ::bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0;
  int error = errno;
  ::umask(mask);
  if (!bound || ::listen(fd.get(), kBacklog) != 0)
    return system_error(bound ? errno : error, fmt::format("listen on '{}'", printable(path)));
  return fd;
}

Result<UniqueFd> on_port(const std::string& where) {
  std::size_t colon = where.rfind(':');
  std::string host = where.substr(0, colon),
              port = colon == std::string::npos ? "" : where.substr(colon + 1);
  if (host.size() > 2 && host.front() == '[' && host.back() == ']')
    host = host.substr(1, host.size() - 2);
  addrinfo hints = {};
  hints.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV | AI_PASSIVE;
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  if (host.empty() || port.empty() ||
      ::getaddrinfo(host.c_str(), port.c_str(), &hints, &found) != 0)
    return Error{EINVAL,
                 fmt::format("cannot listen on '{}': give ADDR:PORT with numbers, such as {}, "
                             "[::1]:9974, or unix:PATH",
                             printable(where), kDefaultWhere)};
  std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)> owned(found, &::freeaddrinfo);
  UniqueFd fd(::socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0));
  int yes = 1;
  if (fd.valid()) ::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
  if (!fd.valid() || ::bind(fd.get(), found->ai_addr, found->ai_addrlen) != 0 ||
      ::listen(fd.get(), kBacklog) != 0)
    return system_error(fmt::format("listen on '{}'", where));
  return fd;
}

}  // namespace

Result<UniqueFd> listen_on(const std::string& where) {
  if (where.starts_with("unix:")) return on_path(where.substr(5));
  if (!where.empty()) return on_port(where);
  CTN_ASSIGN(UniqueFd fd, handed_over());
  if (fd.valid()) return fd;
  return on_port(kDefaultWhere);
}

}  // namespace ctnbpf::exporter
