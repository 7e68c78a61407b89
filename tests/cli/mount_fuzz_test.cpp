/* Random requests through a mount, of an ordinary user: whatever they are, the server answers with an error that
 * is documented, or does what the user may do; and stays. CTNBPF_FUZZ_OPERATIONS and CTNBPF_FUZZ_SEED: how many, and
 * which. */
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/xattr.h>

#include <array>
#include <bitset>
#include <filesystem>
#include <random>

#include "cli_test.h"
#include "mounted.h"

namespace ctnbpf::test {
namespace {

constexpr uid_t kUser = 60001;

/* What is documented, and what the kernel itself says of a call that makes no sense. */
constexpr int kDocumented[] = {
    0,      EPERM,  ENOENT,     ESRCH,        EBADF,     EACCES,    EBUSY,  EEXIST,  EXDEV, ENODEV,
    EISDIR, EINVAL, ERANGE,     ENOTDIR,      ENOTEMPTY, ENOTTY,    EFBIG,  ENOSPC,  E2BIG, ENOSYS,
    EAGAIN, ELOOP,  EOPNOTSUPP, ENAMETOOLONG, ENODATA,   EOVERFLOW, ESPIPE, ENOTSUP, ENXIO, EFAULT};

class Fuzz {
 public:
  Fuzz(std::string top, unsigned seed) : top_(std::move(top)), random_(seed) {}
  ~Fuzz() {
    for (int fd : open_) ::close(fd);
  }
  Fuzz(const Fuzz&) = delete;
  Fuzz& operator=(const Fuzz&) = delete;

  /* One request, or several that belong together; its errno. */
  int any() {
    std::string path = any_path();
    switch (below(26)) {
      case 0: return code_of(::mkdir(path.c_str(), random_()));
      case 1: return code_of(::rmdir(path.c_str()));
      case 2:
        return code_of(::syscall(SYS_renameat2, AT_FDCWD, path.c_str(), AT_FDCWD,
                                 any_path().c_str(), below(9)));
      case 3: return code_of(::chmod(path.c_str(), random_()));
      case 4: return code_of(::lchown(path.c_str(), any_id(), any_id()));
      case 5: return code_of(::truncate(path.c_str(), any_offset()));
      case 6: return code_of(::unlink(path.c_str()));
      case 7: return code_of(::symlink(any_path().c_str(), path.c_str()));
      case 8: return code_of(::link(any_path().c_str(), path.c_str()));
      case 9: return code_of(::mknod(path.c_str(), random_() & ~S_IFCHR & ~S_IFBLK, 0));
      case 10: return stat_it(path);
      case 11: return list(path);
      case 12: return code_of(::setxattr(path.c_str(), "user.x", "y", 1, 0));
      case 13: {
        char text[64];
        return code_of(::getxattr(path.c_str(), "user.x", text, sizeof(text)));
      }
      case 14: {
        std::array<timespec, 2> times = {};
        return code_of(::utimensat(AT_FDCWD, path.c_str(), times.data(), 0));
      }
      case 15:
      case 16:
      case 17: return open_one(path);
      case 18: return close_one();
      default: return with_open();
    }
  }

 private:
  unsigned below(unsigned n) { return static_cast<unsigned>(random_() % n); }
  template <std::size_t N>
  const char* one_of(const std::array<const char*, N>& all) {
    return all[below(N)];
  }
  uid_t any_id() { return below(2) == 0 ? kUser : static_cast<uid_t>(random_()); }
  off_t any_offset() {
    return below(3) == 0 ? static_cast<off_t>(random_()) << below(33)
                         : static_cast<off_t>(below(40));
  }

  std::string any_name() {
    static constexpr std::array kNames = {"a",
                                          "b",
                                          "c",
                                          "tasks",
                                          "procs",
                                          "events",
                                          ".stat",
                                          ".set",
                                          ".attributes",
                                          ".exec",
                                          "notify_on_release",
                                          "numtasks.limit",
                                          "numtasks.shares",
                                          "numtasks.stats",
                                          "numtasks.forkrate",
                                          "cpuset.cpus",
                                          "memset.mems",
                                          "cpuacct.usage",
                                          "numfiles.held",
                                          "..",
                                          ".",
                                          ".errors",
                                          ".where",
                                          ".explain",
                                          ".hierarchies",
                                          "user_beancounters",
                                          "nosuch"};
    if (below(12) != 0) return one_of(kNames);
    std::string name;
    for (unsigned length = below(below(8) == 0 ? 300 : 12); length > 0; length--)
      name += static_cast<char>(random_());
    for (char& c : name)
      if (c == '/' || c == '\0') c = 'x';
    return name;
  }
  std::string any_path() {
    std::string path = top_ + (below(4) == 0 ? "" : "/mine");
    for (unsigned depth = below(5); depth > 0; depth--) path += "/" + any_name();
    return path;
  }

  std::string any_text() {
    static constexpr std::array kTexts = {"0",
                                          "1",
                                          "2",
                                          "-1",
                                          "max",
                                          "0-1",
                                          "0-",
                                          "99999999999999999999",
                                          "1 2",
                                          "\n",
                                          "4194304",
                                          "notify_on_release=1\n",
                                          "numtasks.limit=5\nnotify_on_release=2\n",
                                          "--best-effort\n",
                                          "min_shares=10,max_shares=50",
                                          "numtasks.shares=min_shares=1\n",
                                          "10/1",
                                          "cpuset.cpus=0\n"};
    switch (below(6)) {
      case 0: return std::to_string(::getpid());
      case 1: return std::to_string(below(40000));
      case 2: {
        std::string text(below(below(20) == 0 ? 9000 : 40), '\0');
        for (char& c : text) c = static_cast<char>(random_());
        return text;
      }
      default: return one_of(kTexts);
    }
  }

  static int stat_it(const std::string& path) {
    struct statvfs all = {};
    struct stat st = {};
    int code = code_of(::stat(path.c_str(), &st));
    return code != 0 ? code : code_of(::statvfs(path.c_str(), &all));
  }
  static int list(const std::string& path) {
    std::error_code error;
    for (std::filesystem::directory_iterator at(path, error), end; !error && at != end;
         at.increment(error)) {
    }
    return error.value();
  }
  int open_one(const std::string& path) {
    static constexpr std::array kFlags = {O_RDONLY,
                                          O_WRONLY,
                                          O_RDWR,
                                          O_WRONLY | O_CREAT | O_TRUNC,
                                          O_RDWR | O_APPEND,
                                          O_RDONLY | O_NONBLOCK,
                                          O_PATH,
                                          O_RDWR | O_CREAT | O_EXCL,
                                          O_WRONLY | O_TRUNC,
                                          O_RDONLY | O_DIRECTORY,
                                          O_RDWR | O_TMPFILE,
                                          O_RDONLY | O_DIRECT};
    int fd = ::open(path.c_str(), kFlags[below(kFlags.size())] | O_CLOEXEC, 0666);
    if (fd < 0) return errno;
    open_.push_back(fd);
    return open_.size() > 30 ? close_one() : 0;
  }
  int close_one() {
    if (open_.empty()) return 0;
    std::swap(open_[below(static_cast<unsigned>(open_.size()))], open_.back());
    int fd = open_.back();
    open_.pop_back();
    return code_of(::close(fd));
  }
  int with_open() {
    if (open_.empty()) return open_one(any_path());
    int fd = open_[below(static_cast<unsigned>(open_.size()))];
    char text[512] = {};
    switch (below(12)) {
      case 0:
      case 1: return code_of(::pread(fd, text, below(sizeof(text)), any_offset()));
      case 2: return code_of(::read(fd, text, below(sizeof(text))));
      case 3: return code_of(::lseek(fd, any_offset(), static_cast<int>(below(5))));
      case 4: return code_of(::ftruncate(fd, any_offset()));
      case 5: return code_of(::fsync(fd));
      case 6: return code_of(::ioctl(fd, random_(), text));
      case 7: {
        pollfd one = {fd, static_cast<short>(random_()), 0};
        return code_of(::poll(&one, 1, 0));
      }
      case 8: {
        void* at =
            ::mmap(nullptr, 4096, PROT_READ, below(2) == 0 ? MAP_SHARED : MAP_PRIVATE, fd, 0);
        if (at == MAP_FAILED) return errno;
        return code_of(::munmap(at, 4096));
      }
      case 9: return code_of(::flock(fd, LOCK_EX | LOCK_NB));
      default: {
        std::string written = any_text();
        return code_of(below(3) == 0 ? ::pwrite(fd, written.data(), written.size(), any_offset())
                                     : ::write(fd, written.data(), written.size()));
      }
    }
  }

  const std::string top_;
  std::minstd_rand random_;
  std::vector<int> open_;
};

std::uint64_t from_environment(const char* name, std::uint64_t otherwise) {
  const char* text = std::getenv(name);
  return text == nullptr ? otherwise : std::strtoull(text, nullptr, 10);
}

class MountFuzz : public CliTest {};

TEST_F(MountFuzz, OfAnOrdinaryUser) {
  constexpr int kClients = 4;
  const std::uint64_t each = from_environment("CTNBPF_FUZZ_OPERATIONS", 4000) / kClients;
  const auto seed = static_cast<unsigned>(from_environment("CTNBPF_FUZZ_SEED", 1));
  out({"create", "default:/mine", "--owner", "60001:60001"});
  Mounted fs({"default"});
  pid_t server = fs.server();
  std::vector<Background> clients;
  for (unsigned i = 0; i < kClients; i++)
    clients.emplace_back([&, i] {
      if (::setgroups(0, nullptr) != 0 || ::setresgid(kUser, kUser, kUser) != 0 ||
          ::setresuid(kUser, kUser, kUser) != 0)
        return 255;
      Fuzz fuzz(fs.dir(), seed * kClients + i);
      for (std::uint64_t at = 0; at < each; at++) {
        int code = fuzz.any();
        if (std::find(std::begin(kDocumented), std::end(kDocumented), code) ==
            std::end(kDocumented)) {
          std::fprintf(stderr, "operation %lu of client %u, seed %u: %s\n",
                       static_cast<unsigned long>(at), i, seed, std::strerror(code));
          return 1;
        }
      }
      return 0;
    });
  for (Background& one : clients) EXPECT_EQ(one.wait(), 0);
  EXPECT_EQ(fs.server(), server); /* one and the same all the time */
  EXPECT_EQ(read_from(fs / "notify_on_release"), "0\n");
  EXPECT_EQ(out({"ps", "-r", "default:/mine"}), "");
  out({"fsck"});
  /* Nothing was changed but what is the user's. */
  for (const char* root : {"notify_on_release", "release_agent"})
    EXPECT_EQ(read_from(fs / root), out({"get", "-n", "default:/", root}));
  EXPECT_EQ(number("default:/mine", "notify_on_release"), 0u);
  auto top = tree::children(state(), slot("default:/"));
  EXPECT_EQ(top.size(), 1u);
  out({"rm", "-r", "default:/mine"});
}

}  // namespace
}  // namespace ctnbpf::test
