#include "placement_test.h"

#include <pthread.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <fstream>

#include "ctnbpf/membership.h"
#include "ctnbpf/attach.h"
#include "ctnbpf/attributes.h"
#include "ctnbpf/containers.h"
#include "ctnbpf/service.h"
#include "placement/affinity.h"
#include "placement/groups.h"
#include "placement/sets.h"
#include "tasks/moves.h"

namespace ctnbpf::test {

void PlacementTest::need_cpus(unsigned count) {
  if (kCpus.online().count() < count) GTEST_SKIP() << "needs " << count << " CPUs";
}

void PlacementTest::need_refusals() {
  if (state().core().level[CTN_HOOKS_PLACE] < CTN_LEVEL_FALLBACK)
    CTN_SKIP("no hook here refuses a member's own mask");
}

bool PlacementTest::mount_v1() const {
  return ::mount("cpuset", root_.c_str(), "cgroup", 0, "cpuset") == 0;
}

bool PlacementTest::group_driver() { return Groups::available(Groups::Version::kV2); }

void PlacementTest::TearDown() {
  KernelTest::TearDown();
  if (root_ == kRootV2) return;
  ::umount(root_.c_str());
  /* The controller goes back some time later; or never, where a group that was removed had not been freed
   * yet when the mount went: until it is mounted and taken away once more. */
  constexpr int kTries = 20;
  bool back = !had_v2_;
  for (int i = 0; i < kTries && !back; i++) {
    back = eventually(group_driver, std::chrono::seconds(4));
    if (!back && mount_v1()) ::umount(root_.c_str());
  }
  EXPECT_TRUE(back);
  ::rmdir(root_.c_str());
}

void PlacementTest::use_driver(const std::string& driver) {
  if (driver == "cgroup1") {
    /* Elsewhere the controller may be this machine's own: our groups would be among its, and to wait for it
     * to come free is to wait in vain. */
    if (std::getenv("CTNBPF_EXPECT_LEVEL") == nullptr)
      GTEST_SKIP() << "mounts the cpuset controller of cgroup v1: only in a VM";
    had_v2_ = group_driver();
    root_ = "/run/ctnbpf-test-cpuset";
    ::mkdir(root_.c_str(), 0700);
    /* Busy until groups of v2 that were removed are freed. */
    int failed = 0;
    (void)eventually([&] {
      failed = mount_v1() ? 0 : errno;
      return failed != EBUSY;
    });
    if (failed != 0) {
      ::rmdir(root_.c_str());
      root_ = kRootV2;
      GTEST_SKIP() << "the cpuset controller of cgroup v1 cannot be mounted";
    }
  }
  if (driver == "cgroup" && !group_driver()) CTN_SKIP("no cpuset controller of cgroup v2");
  auto gone = ctnbpf({"hierarchy", "destroy", "-r", "default"});
  ASSERT_EQ(gone.code, 0) << gone.err;
  auto made = ctnbpf({"hierarchy", "create", "p", "-o", "cpuset,memset", "--placement",
                      driver == "cgroup1" ? "cgroup" : driver});
  ASSERT_EQ(made.code, 0) << made.err;
  EXPECT_EQ(text("p:/", "cpuset.driver"), driver == "cgroup" ? "cgroup2" : driver);
}

std::string PlacementTest::group_of(pid_t pid) const {
  std::string key = root_ == kRootV2 ? "0::" : ":cpuset:";
  std::ifstream file("/proc/" + std::to_string(pid) + "/cgroup");
  for (std::string line; std::getline(file, line);)
    if (auto at = line.find(key); at != std::string::npos) return line.substr(at + key.size());
  return {};
}

void PlacementTest::write_group(const std::string& file, const std::string& text) const {
  std::ofstream out(root_ + file);
  out << text << std::flush;
  EXPECT_TRUE(out.good()) << "'" << text << "' to " << file << ": " << std::strerror(errno);
}

void PlacementTest::smuggle(pid_t pid, const std::string& group) const {
  MayMove unseen(pins());
  write_group(group + "/cgroup.procs", std::to_string(pid));
}

void PlacementTest::make_group(const std::string& group) const {
  std::filesystem::create_directory(root_ + group);
  if (root_ == kRootV2) return;
  write_group(group + "/cpuset.cpus", kCpus.online().to_string());
  write_group(group + "/cpuset.mems", kNodes.online().to_string());
}

void PlacementTest::take_all_down() {
  auto down = take_down(pins(), true);
  ASSERT_TRUE(down.has_value()) << down.error().what;
}

void PlacementTest::destroy(const std::string& one, const std::string& other) {
  for (const std::string& name : {one, other}) {
    auto gone = ctnbpf({"hierarchy", "destroy", "-r", name});
    EXPECT_EQ(gone.code, 0) << gone.err;
  }
}

void PlacementTest::remove_once_free(const std::string& address) {
  EXPECT_TRUE(eventually([&] {
    auto writer = Writer::open(pins());
    return writer && tree::remove(*writer, *tree::find(*writer, address), false);
  }));
}

std::string PlacementTest::text(const std::string& address, const std::string& attribute) const {
  State now = state();
  auto slot = tree::find(now, address);
  if (!slot) return "error: " + slot.error().what;
  auto found = find_attribute(now, *slot, attribute);
  if (!found) return "error: " + found.error().what;
  auto value = found->attribute->read(now, *slot);
  return value ? to_string(*value) : "error: " + value.error().what;
}

int PlacementTest::try_set(const std::string& address, const std::string& one,
                           const std::string& other) {
  auto writer = Writer::open(pins());
  if (!writer) return writer.error().code;
  auto slot = tree::find(*writer, address);
  if (!slot) return slot.error().code;
  std::vector<std::string> settings{one};
  if (!other.empty()) settings.push_back(other);
  auto done = set_attributes(*writer, *slot, settings, false);
  return done ? 0 : done.error().code;
}

void PlacementTest::attach_thread(const std::string& address, pid_t tid) {
  auto writer = Writer::open(pins());
  ASSERT_TRUE(writer.has_value()) << writer.error().what;
  auto done = attach(*writer, *tree::find(*writer, address), tid, true);
  ASSERT_TRUE(done.has_value()) << done.error().what;
}

std::string PlacementTest::mask(const Background& task) {
  return affinity::mask_of_thread(task.pid()).to_string();
}

std::map<std::string, int> PlacementTest::masks_of(pid_t pid) {
  std::map<std::string, int> out;
  for (const auto& entry :
       std::filesystem::directory_iterator("/proc/" + std::to_string(pid) + "/task"))
    out[affinity::mask_of_thread(std::stoi(entry.path().filename())).to_string()]++;
  return out;
}

std::string status_of(pid_t pid, const std::string& key) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/status");
  for (std::string line; std::getline(file, line);)
    if (line.rfind(key + ":\t", 0) == 0) return line.substr(key.size() + 2);
  return {};
}

std::string PlacementTest::outside(const std::string& address) const {
  State now = state();
  Slot at = slot(address);
  auto sets = Sets::open(now, kCpus);
  auto tasks = walk_tasks(pins());
  for (const ctn_walk_task& task : *tasks) {
    if (has_exited(task) || container_of(task, now.nodes()[at].hierarchy) != at) continue;
    IndexSet mask = affinity::mask_of_thread(static_cast<pid_t>(task.tid));
    if (!mask.within(sets->in_force(at)))
      return std::to_string(task.tid) + " has " + mask.to_string();
  }
  return {};
}

std::string PlacementTest::in_force(const std::string& address) const {
  State now = state();
  return Sets::open(now, kCpus)->in_force(slot(address)).to_string();
}

void PlacementTest::corrupt_in_force(const std::string& address, const std::string& list) {
  auto writer = Writer::open(pins());
  ASSERT_TRUE(writer.has_value());
  auto sets = WritableSets::open(*writer, kCpus);
  sets->set_in_force(*tree::find(*writer, address), *parse_index_set("list", list, 1024));
}

void PlacementTest::leave_change_half_done(const std::string& address, const std::string& list) {
  Background killed([&]() -> int {
    auto writer = Writer::open(pins());
    auto sets = WritableSets::open(*writer, kCpus);
    sets->prepare_own(*tree::find(*writer, address), *parse_index_set("list", list, 1024)).make();
    ::_exit(0); /* without the writer's destructor: as if it had been killed */
  });
  EXPECT_EQ(killed.wait(), 0);
}

void PlacementTest::leave_attach_half_done(const std::string& address, pid_t pid) {
  Background killed([&]() -> int {
    auto writer = Writer::open(pins());
    Origins origins;
    if (!begin_move(*writer, *tree::find(*writer, address), pid, false) ||
        !move_pass(pins(), 0, origins))
      ::_exit(1);
    ::_exit(origins.size() == 1 ? 0 : 2);
  });
  EXPECT_EQ(killed.wait(), 0);
}

int set_mask(const std::string& list, pid_t tid) {
  std::vector<unsigned long> words = mask_of(*parse_index_set("list", list, 1024));
  return ::syscall(SYS_sched_setaffinity, tid, words.size() * sizeof(words[0]), words.data()) == 0
             ? 0
             : errno;
}

std::atomic<bool>* shared_flag() {
  void* page = ::mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  return new (page) std::atomic<bool>(false);
}

Threads::Threads(int count)
    : process_([count] {
        pthread_attr_t small;
        ::pthread_attr_init(&small);
        ::pthread_attr_setstacksize(&small, 64 * 1024);
        for (int i = 0; i < count; i++) {
          pthread_t thread = {};
          if (::pthread_create(
                  &thread, &small,
                  [](void*) -> void* {
                    for (;;) ::pause();
                  },
                  nullptr) != 0)
            return 1;
        }
        return ::pause();
      }) {
  EXPECT_TRUE(eventually([&] { return tids().size() == static_cast<std::size_t>(count) + 1; }));
}

std::vector<pid_t> Threads::tids() const {
  std::vector<pid_t> out;
  for (const auto& entry :
       std::filesystem::directory_iterator("/proc/" + std::to_string(pid()) + "/task"))
    out.push_back(std::stoi(entry.path().filename()));
  std::sort(out.begin(), out.end());
  return out;
}

}  // namespace ctnbpf::test
