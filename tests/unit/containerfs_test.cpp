/* containerfs without a kernel: what mount(8) says, who may write, what an inode number is. */
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>

#include "containerfs/client.h"
#include "containerfs/held.h"
#include "containerfs/inode.h"
#include "containerfs/journal.h"
#include "containerfs/request.h"

namespace ctnbpf::containerfs {
namespace {

Result<Request> parse(std::vector<std::string> words, bool cpuset = false) {
  words.insert(words.begin(), "mount.container");
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  return parse_helper(static_cast<int>(argv.size()), argv.data(), cpuset);
}

TEST(ContainerfsRequest, AsMountSaysIt) {
  auto request =
      parse({"none", "/containers", "-o", "rw,numtasks,numfiles,numtasks,x-systemd.foo"});
  ASSERT_TRUE(request);
  EXPECT_EQ(request->dir, "/containers");
  EXPECT_EQ(request->hierarchy, "");
  EXPECT_EQ(request->subsystems, (std::vector<std::string>{"numtasks", "numfiles"}));
  EXPECT_TRUE(request->prefix);
  request = parse({"mine", "/c", "-n", "-v", "-o", "noprefix,ro,libcgroup,bpffs=/b"});
  ASSERT_TRUE(request);
  EXPECT_EQ(request->hierarchy, "mine");
  EXPECT_EQ(request->pin_root, "/b");
  EXPECT_TRUE(!request->prefix && request->read_only && request->libcgroup);
  EXPECT_EQ(parse({"none", "/cpusets", "-o", "rw"}, true)->hierarchy, "");
}

TEST(ContainerfsRequest, WhatItDoesNotTake) {
  EXPECT_EQ(parse({"none"}).error().code, EINVAL);
  EXPECT_EQ(parse({"none", "/c", "-o"}).error().code, EINVAL);
  EXPECT_EQ(parse({"none", "/c", "-q"}).error().code, EINVAL);
  EXPECT_EQ(parse({"none", "/c", "-o", "bpffs="}).error().code, EINVAL);
  EXPECT_EQ(parse({"none", "/c", "-o", "numtasks"}, true).error().code, EINVAL);
  auto unknown = parse({"none", "/c", "-o", "numtask"});
  ASSERT_FALSE(unknown);
  EXPECT_NE(unknown.error().what.find("did you mean `numtasks`"), std::string::npos)
      << unknown.error().what;
}

TEST(ContainerfsHeldTask, IsKnownAsGoneWhateverHasItsNumber) {
  pid_t child = ::fork();
  if (child == 0) {
    ::pause();
    ::_exit(0);
  }
  HeldTask held(child);
  EXPECT_TRUE(held.there());
  ::kill(child, SIGKILL);
  siginfo_t info = {};
  ::waitid(P_PID, static_cast<id_t>(child), &info, WEXITED | WNOWAIT);
  EXPECT_TRUE(held.there()); /* a zombie has its number */
  ::waitpid(child, nullptr, 0);
  EXPECT_FALSE(held.there());
  EXPECT_FALSE(HeldTask(child).there());
}

TEST(ContainerfsRights, AsTheKernelReadsAMode) {
  Ownership file{10, 20, 0644};
  EXPECT_TRUE(may_write(file, {1, 10, 10, {}}));
  EXPECT_TRUE(may_write({10, 20, 0}, {1, 0, 0, {}}));
  EXPECT_FALSE(may_write(file, {1, 11, 20, {}}));
  EXPECT_TRUE(may_write({10, 20, 0664}, {1, 11, 20, {}}));
  EXPECT_TRUE(may_write({10, 20, 0664}, {1, 11, 12, {19, 20}}));
  EXPECT_FALSE(may_write({10, 20, 0666 & ~S_IWUSR}, {1, 10, 20, {}})); /* the owner's bits alone */
  EXPECT_FALSE(may_write({10, 20, 0666 & ~S_IWGRP}, {1, 11, 20, {}}));
  EXPECT_TRUE(may_write({10, 20, 0666}, {1, 11, 12, {}}));
}

TEST(ContainerfsInode, GoesBothWays) {
  EXPECT_EQ(Inode().number(), 1u); /* FUSE's root */
  for (Inode one : {Inode{kDirectory, 0, 0}, Inode{1023, (1U << 22) - 1, ~0U},
                    Inode{kSubsystems, 4'000'007, 7}}) {
    EXPECT_EQ(Inode::of(one.number()), one);
    EXPECT_NE(one.number(), 1u);
  }
}

TEST(ContainerfsJournal, KeepsTheLastAndShowsEachTheirs) {
  Journal journal;
  for (int i = 0; i < 300; i++)
    journal.add({7, static_cast<uid_t>(i % 2), 0, {}}, "default:/x",
                "no " + std::to_string(i) + "\n");
  std::string all = journal.text(0);
  EXPECT_EQ(std::count(all.begin(), all.end(), '\n'), 256);
  EXPECT_EQ(all.find("no 43\\x0a\n"), std::string::npos);
  EXPECT_NE(all.find(" 7 0 default:/x no 44\\x0a\n"), std::string::npos) << all.substr(0, 80);
  std::string own = journal.text(1);
  EXPECT_EQ(std::count(own.begin(), own.end(), '\n'), 128);
  EXPECT_EQ(own.find(" 7 0 "), std::string::npos);
  EXPECT_EQ(journal.text(2), "");
}

}  // namespace
}  // namespace ctnbpf::containerfs
