/* ctnbpf-fs: what `ctnbpf mount` becomes, and mount(8)'s helpers mount.container and mount.cpuset, which are this
 * program by those names. */
#include <fcntl.h>
#include <fmt/format.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <array>
#include <cstdio>

#include "ctnbpf/address.h"
#include "mounting.h"
#include "ctnbpf/unique_fd.h"

namespace ctnbpf::containerfs {
namespace {

/* What mount(8) makes of a helper's exit code. */
constexpr int kUsage = 1;
constexpr int kFailed = 32;

int report(const std::string& name, const Error& error, int code) {
  fmt::print(stderr, "{}: {}\n", name, harmless(error.what));
  return code;
}

/* The child's part: its output goes nowhere, and `report` gets the reason if it does not come to serve. */
int serve_detached(const Request& request, const std::string& dir, const Style& style,
                   UniqueFd report) {
  ::setsid();
  signal(SIGHUP, SIG_IGN);
  int code = 1;
  serve_mount(request, dir, style, [&](const Result<void>& done) {
    code = done ? 0 : 1;
    if (!done) {
      const std::string& what = done.error().what;
      (void)!::write(report.get(), what.data(), what.size());
    } else {
      (void)!::chdir("/");
      UniqueFd null(::open("/dev/null", O_RDWR | O_CLOEXEC));
      for (int fd = 0; fd <= 2; fd++) ::dup2(null.get(), fd);
    }
    report.reset();
  });
  return code;
}

/* Returns in the parent when the mount answers. */
Result<void> serve_in_background(const Request& request, const std::string& dir,
                                 const Style& style) {
  std::array<int, 2> ends = {};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) return system_error("start the server");
  UniqueFd in(ends[0]);
  UniqueFd out(ends[1]);
  pid_t child = ::fork();
  if (child < 0) return system_error("start the server");
  if (child == 0) {
    in.reset();
    ::_exit(serve_detached(request, dir, style, std::move(out)));
  }
  out.reset();
  std::string what;
  char piece[4096];
  for (ssize_t got = 0; (got = ::read(in.get(), piece, sizeof(piece))) > 0;)
    what.append(piece, static_cast<std::size_t>(got));
  if (!what.empty()) {
    ::waitpid(child, nullptr, 0);
    return Error{EIO, what};
  }
  struct stat st = {};
  if (::stat((dir + "/.").c_str(), &st) != 0)
    return system_error(fmt::format("reach what is mounted on '{}'", printable(dir)));
  return {};
}

Result<void> serve(const Request& request) {
  if (request.cpuset && serves_cpuset(request.dir)) return {}; /* cset mounts before each command */
  CTN_ASSIGN(std::string dir, prepare_directory(request.dir));
  CTN_ASSIGN(Style style, find_hierarchy(request));
  if (!request.foreground) return serve_in_background(request, dir, style);
  Result<void> mounted;
  serve_mount(request, dir, style, [&](const Result<void>& done) { mounted = done; });
  return mounted;
}

int be_helper(int argc, char** argv, const std::string& name) {
  auto request = parse_helper(argc, argv, name == "mount.cpuset");
  if (!request) return report(name, request.error(), kUsage);
  if (::geteuid() != 0) return report(name, {EPERM, "only root can mount this"}, kUsage);
  auto done = serve(*request);
  return done ? 0 : report(name, done.error(), kFailed);
}

int be_command(int argc, char** argv) {
  Request request;
  std::vector<std::string> words;
  CLI::App app("Serves containers as a file system; started by `ctnbpf mount`.");
  app.add_option("--bpffs", request.pin_root);
  app.add_option("--options", words)->allow_extra_args(false);
  app.add_flag("--foreground", request.foreground);
  app.add_option("DIR", request.dir)->required();
  app.add_option("HIER", request.hierarchy);
  CLI11_PARSE(app, argc, argv);
  for (const std::string& one : words)
    if (auto taken = take_options(request, one); !taken) return report("ctnbpf", taken.error(), 1);
  request.all = request.hierarchy.empty() && request.subsystems.empty();
  auto done = serve(request);
  return done ? 0 : report("ctnbpf", done.error(), 1);
}

}  // namespace
}  // namespace ctnbpf::containerfs

int main(int argc, char** argv) {
  std::string name = argc > 0 ? argv[0] : "";
  name.erase(0, name.rfind('/') + 1);
  bool helper = name == "mount.container" || name == "mount.cpuset";
  return helper ? ctnbpf::containerfs::be_helper(argc, argv, name)
                : ctnbpf::containerfs::be_command(argc, argv);
}
