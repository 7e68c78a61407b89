/* mount: the files, over a real mount. */
#include <poll.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>
#include <future>
#include <sstream>
#include <thread>

#include "cli_test.h"
#include "ctnbpf/attributes.h"
#include "tree/lock.h"
#include "mounted.h"

namespace ctnbpf::test {
namespace {

class Mount : public CliTest {
 protected:
  static std::vector<std::string> names_in(const std::string& dir) {
    std::vector<std::string> names;
    for (const auto& entry : std::filesystem::directory_iterator(dir))
      names.push_back(entry.path().filename());
    return names;
  }
  static bool has(const std::string& path) { return ::access(path.c_str(), F_OK) == 0; }
  static std::string last_line(const std::string& text) {
    std::size_t end = text.empty() ? 0 : text.size() - 1;
    std::size_t begin = text.rfind('\n', end == 0 ? 0 : end - 1);
    return text.substr(begin == std::string::npos ? 0 : begin + 1);
  }
};

TEST_F(Mount, ADirectoryIsAContainer) {
  Mounted fs;
  std::string web = fs / "default/web";
  ASSERT_EQ(::mkdir(web.c_str(), 0755), 0);
  EXPECT_TRUE(exists("default:/web"));
  EXPECT_EQ(code_of(::mkdir(web.c_str(), 0755)), EEXIST);
  /* What the command changes is seen at the next call, and the other way round. */
  out({"create", "default:/web/a"});
  EXPECT_TRUE(has(web + "/a"));
  struct stat st = {};
  ASSERT_EQ(::stat(web.c_str(), &st), 0);
  EXPECT_EQ(st.st_nlink, 3u);
  EXPECT_EQ(st.st_mode, static_cast<mode_t>(S_IFDIR | 0755));
  std::uint64_t created = state().infos()[slot("default:/web")].created_ns;
  EXPECT_EQ(static_cast<std::uint64_t>(st.st_mtim.tv_sec), created / 1'000'000'000);
  ASSERT_EQ(::rename((web + "/a").c_str(), (web + "/b").c_str()), 0);
  EXPECT_TRUE(exists("default:/web/b"));
  EXPECT_FALSE(has(web + "/a"));
  auto names = names_in(web);
  EXPECT_EQ(std::count(names.begin(), names.end(), "b"), 1);
  EXPECT_EQ(std::count(names.begin(), names.end(), "numtasks.limit"), 1);
  EXPECT_EQ(std::count(names.begin(), names.end(), "release_agent"), 0);
  EXPECT_TRUE(has(fs / "default/release_agent"));
  out({"rm", "default:/web/b"});
  EXPECT_FALSE(has(web + "/b"));
  EXPECT_EQ(::rmdir(web.c_str()), 0);
  EXPECT_FALSE(exists("default:/web"));
}

TEST_F(Mount, EveryAttributeReadsAsTheCommandPrintsIt) {
  create("default:/web");
  Mounted fs({"default"});
  for (const std::string address : {"default:/", "default:/web"}) {
    std::string dir = fs / (address == "default:/" ? "" : "web");
    for (const AttributeRef& ref : attributes_of(state(), slot(address))) {
      if (ref.full_name == "tasks" || ref.full_name.starts_with("cpuacct")) continue;
      bool moves = address == "default:/" && ref.attribute->prepare == nullptr; /* all tasks' */
      if (moves || (ref.full_name == "release_agent" && address != "default:/")) continue;
      EXPECT_EQ(read_from(dir + "/" + ref.full_name), out({"get", "-n", address, ref.full_name}))
          << address << " " << ref.full_name;
      struct stat st = {};
      ASSERT_EQ(::stat((dir + "/" + ref.full_name).c_str(), &st), 0);
      EXPECT_EQ(st.st_mode & 07777, ref.attribute->prepare != nullptr ? 0644u : 0444u);
    }
  }
}

TEST_F(Mount, AWriteIsSetWithItsErrors) {
  create("default:/web");
  Mounted fs({"default"});
  std::string notify = fs / "web/notify_on_release";
  EXPECT_EQ(write_to(notify, " 1\n"), 0);
  EXPECT_EQ(out({"get", "-n", "default:/web", "notify_on_release"}), "1\n");
  EXPECT_EQ(read_from(notify), "1\n");
  EXPECT_EQ(write_to(notify, "2"), EINVAL);
  EXPECT_EQ(write_to(notify, std::string(5000, '1')), EINVAL);
  EXPECT_EQ(read_from(notify), "1\n");
  EXPECT_EQ(write_to(fs / "web/numtasks.limit", "many"), EINVAL);
  EXPECT_EQ(write_to(fs / "web/numtasks.limit", "4194305"), ERANGE);
  EXPECT_EQ(write_to(fs / "web/numtasks.current", "1"), EACCES);
  EXPECT_EQ(write_to(fs / "web/numtasks.limit", "7"), level() < CTN_LEVEL_FALLBACK ? ENOTSUP : 0);
  /* The sentence is that of the command. */
  Output said = ctnbpf({"set", "default:/web", "notify_on_release=2"});
  EXPECT_EQ(write_to(notify, "2"), EINVAL);
  std::string line = last_line(read_from(fs / ".errors"));
  EXPECT_NE(line.find(said.err.substr(8)), std::string::npos) << line << said.err;
  EXPECT_NE(line.find(" 0 default:/web/notify_on_release "), std::string::npos) << line;
}

TEST_F(Mount, NothingElseCanBeMade) {
  create("default:/web");
  create("default:/web/a");
  create("default:/other");
  Mounted fs;
  std::string web = fs / "default/web";
  EXPECT_EQ(write_to(web + "/new", "1"), EPERM);
  EXPECT_EQ(code_of(::mknod((web + "/new").c_str(), S_IFIFO | 0600, 0)), EPERM);
  EXPECT_EQ(code_of(::symlink("/", (web + "/new").c_str())), EPERM);
  EXPECT_EQ(code_of(::link((web + "/tasks").c_str(), (web + "/new").c_str())), EPERM);
  EXPECT_EQ(code_of(::unlink((web + "/tasks").c_str())), EPERM);
  EXPECT_EQ(code_of(::mkdir((fs / "h").c_str(), 0755)), EPERM);
  EXPECT_EQ(code_of(::rmdir((fs / "default").c_str())), EPERM);
  EXPECT_EQ(code_of(::rmdir(web.c_str())), EBUSY); /* it has a child */
  EXPECT_EQ(code_of(::rename((web + "/a").c_str(), (fs / "default/other/a").c_str())), EPERM);
  EXPECT_EQ(code_of(::rename(web.c_str(), (fs / "default/other").c_str())), EEXIST);
  EXPECT_EQ(code_of(::mkdir((web + "/bad\n").c_str(), 0755)), EINVAL);
  EXPECT_EQ(code_of(::mkdir((web + "/tasks").c_str(), 0755)), EEXIST);
  EXPECT_EQ(code_of(::chmod((web + "/numtasks.limit").c_str(), 0666)), EPERM);
  EXPECT_EQ(code_of(::truncate((web + "/tasks").c_str(), 0)), 0);
  EXPECT_EQ(names_in(fs / "default/other").size(), names_in(web).size() - 1);
}

TEST_F(Mount, TheShellSessionOfV1) {
  Mounted fs({"default"});
  Output done = shell("set -e; cd " + fs.dir() +
                      "; mkdir web; cd web; echo $$ > tasks; grep -cx $$ tasks; grep -cx $$ procs; "
                      "(cat tasks >/dev/null; sh -c 'grep -cx $$ " +
                      fs.dir() +
                      "/web/tasks'); "
                      "echo $$ > ../tasks; cat tasks; cd ..; rmdir web");
  EXPECT_EQ(done.code, 0) << done.err;
  EXPECT_EQ(done.out, "1\n1\n1\n");
}

TEST_F(Mount, MovingTasks) {
  create("default:/web");
  Mounted fs({"default"});
  Background task([] { return ::pause(); });
  std::string pid = std::to_string(task.pid());
  for (const char* list : {"web/tasks", "web/procs"}) {
    EXPECT_EQ(write_to(fs / list, pid + "\n"), 0);
    EXPECT_EQ(read_from(fs / list), pid + "\n");
    EXPECT_EQ(out({"ps", "default:/web"}), pid + "\n");
    std::string root = std::string(list).substr(4);
    EXPECT_EQ(write_to(fs / root, " " + pid), 0);
    EXPECT_EQ(read_from(fs / list), "");
    EXPECT_NE(("\n" + read_from(fs / root)).find("\n" + pid + "\n"), std::string::npos);
  }
  EXPECT_EQ(write_to(fs / "web/tasks", "-1"), EINVAL);
  EXPECT_EQ(write_to(fs / "web/tasks", "one"), EINVAL);
  EXPECT_EQ(write_to(fs / "web/tasks", ""), 0); /* a write of nothing is none */
  EXPECT_EQ(write_to(fs / "web/tasks", "\n"), EINVAL);
  EXPECT_EQ(write_to(fs / "web/tasks", pid + " " + pid), EINVAL);
  EXPECT_EQ(write_to(fs / "web/tasks", "4194304"), ESRCH);
  EXPECT_EQ(write_to(fs / "web/tasks", "99999999999"), ESRCH);
  EXPECT_EQ(write_to(fs / "web/procs", std::to_string(fs.server())), EINVAL); /* it serves */
  /* 0 is the writer: that thread in `tasks`, its process in `procs`. */
  Background self([&] {
    int code = 1;
    std::thread([&] { code = write_to(fs / "web/tasks", "0"); }).join();
    /* That thread came, and is gone with what it was; its process stayed. */
    auto empty = [&] { return read_from(fs / "web/procs").empty(); };
    if (code != 0 || !eventually(empty)) return 1;
    if (write_to(fs / "web/procs", "0") != 0) return 2;
    return read_from(fs / "web/procs") == std::to_string(::getpid()) + "\n" ? 0 : 3;
  });
  EXPECT_EQ(self.wait(), 0);
}

TEST_F(Mount, NumbersAreTheWritersOwn) {
  create("default:/web");
  Mounted fs({"default"});
  /* Its own number there is 1 or 2; another process of ours has the first. */
  Output inside = shell("unshare --pid --fork --mount-proc bash -c 'echo $$ > " +
                        (fs / "web/procs") + " && cat " + (fs / "web/procs") +
                        " | head -1; echo 4000000 > " + (fs / "web/procs") + "'");
  EXPECT_EQ(inside.out, "1\n") << inside.err;
  EXPECT_NE(inside.err.find("No such process"), std::string::npos) << inside.err;
  Output self = shell("unshare --pid --fork --mount-proc bash -c 'echo 0 > " + (fs / "web/tasks") +
                      "; grep -x 1 " + (fs / "web/tasks") + "'");
  EXPECT_EQ(self.out, "1\n") << self.err;
}

TEST_F(Mount, ARemovedContainersOpenFilesSayENODEV) {
  create("default:/web");
  Mounted fs({"default"});
  int fd = ::open((fs / "web/notify_on_release").c_str(), O_RDWR | O_CLOEXEC);
  ASSERT_GE(fd, 0);
  char byte = 0;
  EXPECT_EQ(::read(fd, &byte, 1), 1);
  EXPECT_EQ(byte, '0');
  EXPECT_EQ(::read(fd, &byte, 1), 1); /* one moment, by offset */
  EXPECT_EQ(byte, '\n');
  EXPECT_EQ(::read(fd, &byte, 1), 0);
  out({"set", "default:/web", "notify_on_release=1"});
  EXPECT_EQ(::pread(fd, &byte, 1, 0), 1); /* from the start it is read anew */
  EXPECT_EQ(byte, '1');
  remove("default:/web");
  create("default:/web"); /* another one */
  EXPECT_EQ(code_of(::pread(fd, &byte, 1, 0)), ENODEV);
  EXPECT_EQ(code_of(::pwrite(fd, "1", 1, 0)), ENODEV);
  EXPECT_EQ(read_from(fs / "web/notify_on_release"), "0\n");
  ::close(fd);
}

TEST_F(Mount, PollTellsOfEvents) {
  create("default:/web");
  create("default:/web/a");
  Mounted fs({"default"});
  int fd = ::open((fs / "web/events").c_str(), O_RDONLY | O_CLOEXEC);
  ASSERT_GE(fd, 0);
  auto wait = [fd](int ms) {
    pollfd one = {fd, POLLPRI, 0};
    return ::poll(&one, 1, ms) == 1 && (one.revents & POLLPRI) != 0;
  };
  auto text = [fd] {
    char all[256] = {};
    EXPECT_GT(::pread(fd, all, sizeof(all) - 1, 0), 0);
    return std::string(all);
  };
  EXPECT_NE(text().find("populated 0\nforks_refused 0\n"), std::string::npos) << text();
  EXPECT_FALSE(wait(0));
  {
    auto told = std::async(std::launch::async, [&] { return wait(20000); });
    Background task = sleeper("default:/web/a");
    EXPECT_TRUE(told.get());
    EXPECT_NE(text().find("populated 1\n"), std::string::npos);
    EXPECT_FALSE(wait(0));
  }
  EXPECT_TRUE(wait(20000));
  EXPECT_NE(text().find("populated 0\n"), std::string::npos);
  out({"rm", "-r", "default:/web"});
  EXPECT_TRUE(wait(20000)); /* gone */
  ::close(fd);
}

TEST_F(Mount, ALimitWrittenHereRefusesForks) {
  need_level(CTN_LEVEL_FALLBACK);
  if (IsSkipped() || HasFatalFailure()) return;
  create("default:/web");
  Mounted fs({"default"});
  ASSERT_EQ(write_to(fs / "web/numtasks.limit", "2\n"), 0);
  int fd = ::open((fs / "web/events").c_str(), O_RDONLY | O_CLOEXEC);
  Background bomb([&] {
    if (write_to(fs / "web/procs", "0") != 0) return 1;
    Background first([] { return ::pause(); });
    return ::fork() < 0 && errno == EAGAIN ? 0 : 2;
  });
  EXPECT_EQ(bomb.wait(), 0);
  pollfd one = {fd, POLLPRI, 0};
  EXPECT_EQ(::poll(&one, 1, 20000), 1);
  ::close(fd);
  EXPECT_NE(read_from(fs / "web/events").find("\nforks_refused 1\n"), std::string::npos);
}

TEST_F(Mount, ReadingDoesNotWaitForWhoChangesThings) {
  create("default:/web");
  for (int i = 0; i < 10; i++) create("default:/web/" + std::to_string(i));
  Mounted fs({"default"});
  auto lock = take_writer_lock();
  ASSERT_TRUE(lock);
  std::vector<std::future<int>> waiting; /* more than there are threads */
  for (int i = 0; i < 10; i++) {
    std::string own = fs / ("web/" + std::to_string(i));
    waiting.push_back(std::async(std::launch::async,
                                 [own] { return write_to(own + "/notify_on_release", "1"); }));
    waiting.push_back(std::async(std::launch::async,
                                 [own] { return code_of(::mkdir((own + "/a").c_str(), 0755)); }));
  }
  auto read = std::async(std::launch::async, [&] {
    for (int i = 0; i < 50; i++) (void)read_from(fs / "web/tasks");
    return read_from(fs / "web/notify_on_release");
  });
  EXPECT_EQ(read.wait_for(std::chrono::seconds(20)), std::future_status::ready);
  for (auto& one : waiting)
    EXPECT_EQ(one.wait_for(std::chrono::seconds(0)), std::future_status::timeout);
  lock->reset();
  for (auto& one : waiting) EXPECT_EQ(one.get(), 0);
  EXPECT_EQ(read.get(), "0\n");
  out({"rm", "-r", "default:/web"});
}

TEST_F(Mount, AServerThatIsKilledIsMountedAnew) {
  create("default:/web", {"notify_on_release=1"});
  Mounted fs({"default"});
  int fd = ::open((fs / "web/notify_on_release").c_str(), O_RDONLY | O_CLOEXEC);
  for (int i = 0; i < 3; i++) {
    ::kill(fs.server(), SIGKILL);
    EXPECT_TRUE(
        eventually([&] { return code_of(::access((fs / "web").c_str(), F_OK)) == ENOTCONN; }));
    EXPECT_EQ(fs.mount({"default"}).err, "");
    EXPECT_EQ(read_from(fs / "web/notify_on_release"), "1\n");
  }
  char byte = 0;
  EXPECT_EQ(code_of(::read(fd, &byte, 1)), ENOTCONN);
  ::close(fd);
  out({"fsck"});
}

TEST_F(Mount, BeancountersAndShortNames) {
  create("default:/web");
  Background task = sleeper("default:/web");
  Mounted fs({"default", "-o", "noprefix"});
  EXPECT_EQ(read_from(fs / "web/forkrate"), "max\n");
  EXPECT_EQ(read_from(fs / "web/numtasks.events"), "0\n"); /* `events` is taken */
  std::string text = read_from(fs / "user_beancounters");
  EXPECT_TRUE(text.starts_with("Version: 2.5\n")) << text;
  std::istringstream line(text.substr(text.find(std::to_string(slot("default:/web")) + ":")));
  std::string id;
  std::string resource;
  std::uint64_t held = 0;
  std::uint64_t maxheld = 0;
  std::uint64_t barrier = 0;
  line >> id >> resource >> held >> maxheld >> barrier;
  EXPECT_EQ(resource, "numproc");
  EXPECT_EQ(held, 1u);
  EXPECT_EQ(barrier, 9223372036854775807u);
}

TEST_F(Mount, WhatCannotBeMounted) {
  Mounted fs({"default"});
  fails({"mount", "/nonexistent"}, 1, {"/nonexistent", "No such file"});
  fails({"mount", "/etc/passwd"}, 1, {"/etc/passwd", "no directory"});
  fails({"mount", fs.dir(), "nothing"}, 1, {"no hierarchy or subsystem 'nothing'"});
  fails({"mount", fs.dir(), "-o", "numtask"}, 1,
        {"unknown option 'numtask'", "did you mean", "numtasks"});
  fails({"mount", fs.dir(), "-o", "numtasks"}, 1, {"'numtasks' is bound to hierarchy 'default'"});
  fails({"mount", fs.dir(), "default", "-o", "numtasks"}, 1,
        {"hierarchy 'default' has ", "not numtasks"});
  fails({"mount"}, 2, {"DIR"});
}

}  // namespace
}  // namespace ctnbpf::test
