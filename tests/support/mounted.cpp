#include "mounted.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <grp.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>

namespace ctnbpf::test {

int code_of(long returned) { return returned < 0 ? errno : 0; }

int write_to(const std::string& path, const std::string& text) {
  int fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  if (fd < 0) return errno;
  int code = code_of(::write(fd, text.data(), text.size()));
  ::close(fd);
  return code;
}

std::string read_from(const std::string& path) {
  int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return std::string("open: ") + std::strerror(errno);
  std::string text;
  char piece[4096];
  ssize_t got = 0;
  while ((got = ::read(fd, piece, sizeof(piece))) > 0)
    text.append(piece, static_cast<std::size_t>(got));
  if (got < 0) text = std::string("read: ") + std::strerror(errno);
  ::close(fd);
  return text;
}

void need_fuse() {
  if (::access("/dev/fuse", F_OK) != 0) (void)run({"modprobe", "fuse"});
}

Mounted::Mounted(const std::vector<std::string>& words) {
  need_fuse();
  char place[] = "/run/ctnbpf-fs-test-XXXXXX";
  dir_ = ::mkdtemp(place);
  ::chmod(place, 0755);
  Output done = mount(words);
  EXPECT_EQ(done.code, 0) << done.err;
  EXPECT_EQ(done.err, "");
}

Mounted::~Mounted() {
  unmount(dir_);
  std::error_code error;
  std::filesystem::remove(dir_, error);
  EXPECT_FALSE(error) << dir_ << ": " << error.message();
}

Output Mounted::mount(const std::vector<std::string>& words) const {
  std::vector<std::string> all{"mount", dir_};
  all.insert(all.end(), words.begin(), words.end());
  return ctnbpf(all);
}

namespace {

/* The process that has it as one of the words it was started with. */
pid_t find_server(const std::string& dir) {
  for (const auto& entry : std::filesystem::directory_iterator("/proc")) {
    std::string name = entry.path().filename();
    if (name.find_first_not_of("0123456789") != std::string::npos) continue;
    std::ifstream file(entry.path() / "cmdline");
    std::string words((std::istreambuf_iterator<char>(file)), {});
    std::string own = std::string("\0", 1) + dir + std::string("\0", 1);
    bool ours =
        words.find("ctnbpf-fs") != std::string::npos || words.find("mount.c") != std::string::npos;
    if (ours && (words + std::string("\0", 1)).find(own) != std::string::npos)
      return std::stoi(name);
  }
  return 0;
}

}  // namespace

pid_t Mounted::server() const { return find_server(dir_); }

bool Mounted::is_mounted(const std::string& dir) {
  std::ifstream mounts("/proc/self/mounts");
  for (std::string line; std::getline(mounts, line);)
    if (line.find(" " + dir + " fuse.ctnbpf ") != std::string::npos) return true;
  return false;
}

void unmount(const std::string& dir) {
  while (Mounted::is_mounted(dir))
    if (::umount2(dir.c_str(), MNT_DETACH) != 0) break;
  EXPECT_TRUE(eventually([&] { return find_server(dir) == 0; })) << "the server is still there";
}

int as_user(uid_t uid, const std::function<int()>& body) {
  Background child([&] {
    if (::setgroups(0, nullptr) != 0 || ::setresgid(uid, uid, uid) != 0 ||
        ::setresuid(uid, uid, uid) != 0)
      return 255;
    return body();
  });
  return child.wait();
}

}  // namespace ctnbpf::test
