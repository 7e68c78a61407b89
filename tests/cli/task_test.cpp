/* attach, ps, where. */
#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>

#include <optional>
#include <thread>

#include "cli_test.h"
#include "ctnbpf/attributes.h"

namespace ctnbpf::test {
namespace {

class Task : public CliTest {
 protected:
  static std::string pid_of(const Background& task) { return std::to_string(task.pid()); }
  /* A pid that nobody has. */
  static std::string gone_pid() {
    Background task([] { return 0; });
    std::string pid = pid_of(task);
    task.wait();
    return pid;
  }
};

TEST_F(Task, AttachMovesEachPid) {
  create("default:/a");
  Background one([] { return ::pause(); });
  Background two([] { return ::pause(); });
  out({"attach", "default:/a", pid_of(one), pid_of(two)});
  EXPECT_EQ(out({"where", pid_of(one)}), bound() + ":/a\n");
  EXPECT_EQ(number("default:/a", "numtasks.current"), 2u);
  out({"attach", "default:/", pid_of(two)}); /* back to the root */
  EXPECT_EQ(out({"where", pid_of(two)}), bound() + ":/\n");
  EXPECT_EQ(number("default:/a", "numtasks.current"), 1u);
  out({"attach", "numtasks:/a", pid_of(one)}); /* where it is already */
}

TEST_F(Task, AttachReportsEachFailureAndDoesTheRest) {
  create("default:/a");
  Background task([] { return ::pause(); });
  std::string gone = gone_pid();
  Output attached = ctnbpf({"attach", "default:/a", gone, pid_of(task), "x"});
  EXPECT_EQ(attached.code, 1);
  EXPECT_EQ(attached.err,
            "ctnbpf: no process " + gone +
                ": it is gone or exiting\nctnbpf: 'x' is not a pid: give a positive number\n");
  EXPECT_EQ(out({"ps", "default:/a"}), pid_of(task) + "\n");
  fails_json({"attach", "default:/a", gone}, 1, "ESRCH");
  for (const char* bad : {"-1", "0", "1x", "99999999999999999999"})
    fails_json({"attach", "default:/a", "--", bad}, 1, "EINVAL");
  fails_json({"attach", "default:/nosuch", pid_of(task)}, 1, "ENOENT");
}

TEST_F(Task, AttachSaysThatAThreadIsNoProcess) {
  create("default:/a");
  std::array<int, 2> told = {};
  ASSERT_EQ(::pipe2(told.data(), O_CLOEXEC), 0);
  Background task([&] {
    std::thread thread([&] {
      pid_t tid = ::gettid();
      (void)!::write(told[1], &tid, sizeof(tid));
      ::pause();
    });
    return ::pause();
  });
  pid_t tid = 0;
  ASSERT_EQ(::read(told[0], &tid, sizeof(tid)), static_cast<ssize_t>(sizeof(tid)));
  const std::string thread = std::to_string(tid);
  for (const std::vector<std::string>& how :
       std::vector<std::vector<std::string>>{{}, {"--tree"}}) {
    std::vector<std::string> args{"attach", "default:/a", thread};
    args.insert(args.end(), how.begin(), how.end());
    fails(args, 1, {thread + " is a thread of process " + pid_of(task), "--thread"});
  }
  EXPECT_EQ(out({"ps", "default:/a"}), "");
  out({"attach", "--thread", "default:/a", thread});
  EXPECT_EQ(out({"ps", "--threads", "default:/a"}), thread + "\n");
  ::close(told[0]);
  ::close(told[1]);
}

TEST_F(Task, PsListsAscendingAndRecursive) {
  create("default:/a");
  create("default:/a/b");
  Background one = sleeper("default:/a");
  Background two = sleeper("default:/a/b");
  Background three = sleeper("default:/a");
  std::vector<pid_t> own{one.pid(), three.pid()};
  std::vector<pid_t> all{one.pid(), two.pid(), three.pid()};
  auto lines = [](std::vector<pid_t> pids) {
    std::sort(pids.begin(), pids.end());
    std::string text;
    for (pid_t pid : pids) text += std::to_string(pid) + "\n";
    return text;
  };
  EXPECT_EQ(out({"ps", "default:/a"}), lines(own));
  EXPECT_EQ(out({"ps", "-r", "default:/a"}), lines(all));
  EXPECT_NE(out({"ps", "default:/"}).find("1\n"), std::string::npos); /* init is in the root */
  fails({"ps", "default:/nosuch"}, 1, {"no container default:/nosuch"});
}

TEST_F(Task, PsJsonSaysCommUidAndState) {
  create("default:/a");
  Piped stopped({ctnbpf_path(), "run", "-c", "default:/a", "setpriv", "--reuid=65534",
                 "--clear-groups", "sh", "-c", "echo $$; kill -STOP $$"});
  pid_t pid = std::stoi(stopped.line());
  nlohmann::json list;
  EXPECT_TRUE(eventually([&] {
    list = json({"ps", "default:/a"});
    return list.size() == 1 && list[0]["state"] == "T";
  }));
  ASSERT_EQ(list.size(), 1u);
  EXPECT_EQ(list[0], nlohmann::json({{"pid", pid},
                                     {"tid", pid},
                                     {"comm", "sh"},
                                     {"uid", 65534},
                                     {"state", "T"},
                                     {"container", "default:/a"}}));
  ::kill(pid, SIGKILL);
  /* `run` is stopped as its command was; when continued it ends with it. */
  stopped.signal(SIGCONT);
  EXPECT_EQ(stopped.wait(), 137);
}

/* A whole process moves; with --thread the one thread. */
TEST_F(Task, ThreadsMoveTogetherOrAlone) {
  create("default:/all");
  create("default:/one");
  std::array<int, 2> ids = {};
  ASSERT_EQ(::pipe(ids.data()), 0);
  Background threaded([&] {
    static int write_to = ids[1];
    pthread_t thread = {};
    ::pthread_create(
        &thread, nullptr,
        [](void*) -> void* {
          auto tid = static_cast<pid_t>(::syscall(SYS_gettid));
          (void)!::write(write_to, &tid, sizeof(tid));
          ::pause();
          return nullptr;
        },
        nullptr);
    return ::pause();
  });
  pid_t tid = 0;
  ASSERT_EQ(::read(ids[0], &tid, sizeof(tid)), static_cast<ssize_t>(sizeof(tid)));
  out({"attach", "default:/all", pid_of(threaded)});
  EXPECT_EQ(out({"ps", "default:/all"}), pid_of(threaded) + "\n");
  EXPECT_EQ(out({"ps", "--threads", "default:/all"}),
            pid_of(threaded) + "\n" + std::to_string(tid) + "\n");
  out({"attach", "--thread", "default:/one", std::to_string(tid)});
  EXPECT_EQ(out({"ps", "--threads", "default:/one"}), std::to_string(tid) + "\n");
  EXPECT_EQ(out({"where", std::to_string(tid)}), bound() + ":/one\n");
  EXPECT_EQ(out({"where", pid_of(threaded)}), bound() + ":/all\n");
  auto list = json({"ps", "--threads", "default:/one"});
  EXPECT_EQ(list[0]["pid"], threaded.pid());
  EXPECT_EQ(list[0]["tid"], tid);
  ::close(ids[0]);
  ::close(ids[1]);
}

TEST_F(Task, WhereHasALineForEachHierarchy) {
  out({"hierarchy", "create", "groups"});
  create("groups:/team");
  create("groups:/team/a\\b");
  Background task = sleeper("groups:/team/a\\b");
  EXPECT_EQ(out({"where", pid_of(task)}), bound() + ":/\ngroups:/team/a\\\\b\n");
  EXPECT_EQ(
      json({"where", pid_of(task)}),
      nlohmann::json(
          {{{"hierarchy", "default"}, {"subsystems", bound()}, {"path", "/"}, {"removed", false}},
           {{"hierarchy", "groups"},
            {"subsystems", ""},
            {"path", "/team/a\\b"},
            {"removed", false}}}));
  std::string gone = gone_pid();
  fails({"where", gone}, 1, {"no process or thread " + gone});
  fails_json({"where", gone}, 1, "ESRCH");
  fails({"where", "self"}, 1, {"'self' is not a pid"});
}

/* A process whose first thread has exited, and that lives on in two others. */
class Headless {
 public:
  Headless() {
    EXPECT_EQ(::pipe(ids_.data()), 0);
    EXPECT_EQ(::pipe(go_.data()), 0);
    process_.emplace([&] {
      for (int i = 0; i < 2; i++) {
        pthread_t thread = {};
        ::pthread_create(&thread, nullptr, live, this);
      }
      return static_cast<int>(::syscall(SYS_exit, 0)); /* this thread alone */
    });
    for (pid_t& tid : tids_)
      EXPECT_EQ(::read(ids_[0], &tid, sizeof(tid)), static_cast<ssize_t>(sizeof(tid)));
    std::sort(tids_.begin(), tids_.end());
    std::string stat = "/proc/" + pid() + "/stat";
    EXPECT_TRUE(
        eventually([&] { return shell("cat " + stat).out.find(") Z ") != std::string::npos; }));
  }
  ~Headless() {
    for (int fd : {ids_[0], ids_[1], go_[0], go_[1]}) ::close(fd);
  }
  Headless(const Headless&) = delete;
  Headless& operator=(const Headless&) = delete;

  std::string pid() const { return std::to_string(process_->pid()); }
  std::string tid(std::size_t i) const { return std::to_string(tids_[i]); }
  /* Has it open an eventfd; its number. */
  std::string open_file() {
    int fd = -1;
    EXPECT_EQ(::write(go_[1], "", 1), 1);
    EXPECT_EQ(::read(ids_[0], &fd, sizeof(fd)), static_cast<ssize_t>(sizeof(fd)));
    return std::to_string(fd);
  }
  int wait() { return process_->wait(); }

 private:
  static void* live(void* self) {
    auto& its = *static_cast<Headless*>(self);
    auto tid = static_cast<pid_t>(::syscall(SYS_gettid));
    (void)!::write(its.ids_[1], &tid, sizeof(tid));
    for (char c = 0; ::read(its.go_[0], &c, 1) == 1;) {
      int fd = ::eventfd(0, 0);
      (void)!::write(its.ids_[1], &fd, sizeof(fd));
    }
    return nullptr;
  }

  std::array<int, 2> ids_ = {};
  std::array<int, 2> go_ = {};
  std::array<pid_t, 2> tids_ = {};
  std::optional<Background> process_;
};

TEST_F(Task, AProcessWithoutItsFirstThreadLives) {
  create("default:/a");
  create("default:/b");
  Headless process;
  EXPECT_EQ(out({"where", process.pid()}), bound() + ":/\n");
  out({"attach", "default:/a", process.pid()});
  for (const std::string& number : {process.pid(), process.tid(0), process.tid(1)}) {
    EXPECT_EQ(out({"where", number}), bound() + ":/a\n");
    EXPECT_TRUE(out({"explain", number}).starts_with(number + " (")) << number;
  }
  EXPECT_EQ(json({"explain", process.pid()})["tid"], std::stoi(process.pid()));
  EXPECT_EQ(out({"ps", "default:/a"}), process.pid() + "\n");
  EXPECT_EQ(out({"ps", "--threads", "default:/a"}), process.tid(0) + "\n" + process.tid(1) + "\n");
  EXPECT_NE(out({"tree", "-t"}).find("─ " + process.pid() + " "), std::string::npos);
  out({"attach", "--tree", "default:/b", process.pid()});
  EXPECT_EQ(out({"ps", "default:/b"}), process.pid() + "\n");
  fails({"attach", "--thread", "default:/a", process.pid()}, 1, {"no thread " + process.pid()});
  out({"attach", "--within-limits", "default:/a", process.pid()});
  if (find_attribute(state(), slot("default:/a"), "numfiles.held")) {
    std::string fd = process.open_file();
    std::string line = process.pid() + " " + fd + " ";
    std::string files = out({"files", "default:/a"});
    EXPECT_TRUE(files.starts_with(line)) << files;
    EXPECT_EQ(files.find("\n" + line), std::string::npos) << "told once: " << files;
    EXPECT_EQ(files.find("held in"), std::string::npos) << files;
  }
  out({"attach", "--thread", "default:/b", process.tid(1)});
  EXPECT_EQ(out({"where", process.pid()}), bound() + ":/a\n");
  EXPECT_EQ(json({"kill", "default:/b"})["signalled"], 1);
  const std::string gone = process.pid();
  EXPECT_EQ(process.wait(), 128 + SIGKILL);
  fails({"where", gone}, 1, {"no process or thread " + gone});
}

}  // namespace
}  // namespace ctnbpf::test
