/* get, set. */
#include "cli_test.h"

namespace ctnbpf::test {
namespace {

class AttributeCommand : public CliTest {};

TEST_F(AttributeCommand, GetPrintsAllSomeOrBare) {
  create("default:/a");
  limit("default:/a", "10");
  std::string all = out({"get", "default:/a"});
  EXPECT_TRUE(all.starts_with("notify_on_release: 0\nrelease_agent: \ntasks: 0\n")) << all;
  for (const char* line :
       {"\nnumtasks.current: 0\n", "\nnumtasks.limit: 10\n", "\nnumtasks.peak: 0\n",
        "\nnumtasks.failcnt: 0\n", "\nnumtasks.events: 0\n"})
    EXPECT_NE(all.find(line), std::string::npos) << line << "in: " << all;
  EXPECT_EQ(out({"get", "numtasks:/a", "numtasks.limit", "tasks"}),
            "numtasks.limit: 10\ntasks: 0\n");
  EXPECT_EQ(out({"get", "default:/a", "numtasks.limit", "-n"}), "10\n");
  EXPECT_EQ(out({"get", "-n", "default:/", "numtasks.limit"}), "max\n");
}

TEST_F(AttributeCommand, GetRecursive) {
  create("default:/a");
  create("default:/a/b");
  EXPECT_EQ(out({"get", "-r", "default:/a", "numtasks.limit"}),
            "default:/a\n  numtasks.limit: max\ndefault:/a/b\n  numtasks.limit: max\n");
  EXPECT_EQ(out({"get", "-r", "-n", "default:/a", "tasks"}), "default:/a\n0\ndefault:/a/b\n0\n");
}

TEST_F(AttributeCommand, GetJsonHasNumbersAndMax) {
  create("default:/a");
  create("default:/a/b");
  limit("default:/a", "10");
  auto one = json({"get", "default:/a"});
  EXPECT_EQ(one["container"], "default:/a");
  EXPECT_EQ(one["numtasks.limit"], 10);
  EXPECT_EQ(one["notify_on_release"], 0);
  auto all = json({"get", "-r", "default:/a", "numtasks.limit"});
  ASSERT_EQ(all.size(), 2u);
  EXPECT_EQ(all[1], nlohmann::json({{"container", "default:/a/b"}, {"numtasks.limit", "max"}}));
}

TEST_F(AttributeCommand, GetNamesWhatIsMissing) {
  fails({"get", "default:/nosuch"}, 1, {"no container default:/nosuch"});
  fails({"get", "default:/", "nosuch"}, 1,
        {"unknown attribute 'nosuch'", "`ctnbpf subsystems --attributes`"});
  out({"hierarchy", "create", "groups"});
  fails({"get", "groups:/", "numtasks.limit"}, 1,
        {"'numtasks' is not bound to hierarchy 'groups'"});
  fails_json({"get", "groups:/", "numtasks.limit"}, 1, "ENOENT");
}

TEST_F(AttributeCommand, SetIsAllOrNothing) {
  create("default:/a");
  out({"set", "--best-effort", "default:/a", "numtasks.limit=5", "notify_on_release=1"});
  EXPECT_EQ(number("default:/a", "numtasks.limit"), 5u);
  EXPECT_EQ(number("default:/a", "notify_on_release"), 1u);
  fails(
      {"set", "--best-effort", "default:/a", "notify_on_release=0", "numtasks.limit=6", "nosuch=1"},
      1, {"unknown attribute 'nosuch'"});
  EXPECT_EQ(number("default:/a", "numtasks.limit"), 5u);
  EXPECT_EQ(number("default:/a", "notify_on_release"), 1u);
  out({"set", "default:/a", "numtasks.limit=max"}); /* needs no enforcement, so no --best-effort */
  EXPECT_EQ(number("default:/a", "numtasks.limit"), std::uint64_t{CTN_UNLIMITED});
}

TEST_F(AttributeCommand, SetChecksValues) {
  create("default:/a");
  for (const char* good : {"0", "4194304", "007"}) limit("default:/a", good);
  for (const char* bad : {"-1", "", "1k", "12\n\n"})
    fails({"set", "--best-effort", "default:/a", std::string("numtasks.limit=") + bad}, 1,
          {"numtasks.limit cannot be '", "use 'max' or a number from 0 to 4194304"});
  fails_json({"set", "--best-effort", "default:/a", "numtasks.limit=-1"}, 1, "EINVAL");
  fails_json({"set", "--best-effort", "default:/a", "numtasks.limit=4194305"}, 1, "ERANGE");
  fails_json({"set", "--best-effort", "default:/a", "numtasks.limit=99999999999999999999999"}, 1,
             "ERANGE");
  EXPECT_EQ(number("default:/a", "numtasks.limit"), 7u);
  fails({"set", "default:/a", "notify_on_release=2"}, 1, {"use 0 or 1"});
  fails({"set", "default:/a", "numtasks.limit"}, 1, {"not of the form ATTRIBUTE=VALUE"});
  fails({"set", "default:/a", "=3"}, 1, {"unknown attribute ''"});
}

TEST_F(AttributeCommand, SetRefusesWhatCannotBeSet) {
  create("default:/a");
  fails({"set", "default:/a", "numtasks.current=3"}, 1,
        {"attribute 'numtasks.current' is read-only"});
  fails_json({"set", "default:/a", "numtasks.current=3"}, 1, "EACCES");
  fails({"set", "--best-effort", "default:/", "numtasks.limit=3"}, 1,
        {"default:/ is a root and has no limit"});
  fails_json({"set", "default:/nosuch", "numtasks.limit=max"}, 1, "ENOENT");
}

/* A limit this kernel cannot keep is refused with the cause and the cure. */
TEST_F(AttributeCommand, UnenforceableLimitIsRefused) {
  create("default:/a");
  if (level() >= CTN_LEVEL_FALLBACK) {
    out({"set", "default:/a", "numtasks.limit=3"});
    return;
  }
  std::vector<std::string> says = {
      "numtasks.limit cannot be enforced on this kernel (level accounting)", "lsm/task_alloc",
      "cure: ", "CONFIG_BPF_LSM", "--best-effort"};
  fails({"set", "default:/a", "numtasks.limit=3"}, 3, says);
  fails({"create", "default:/b", "-s", "numtasks.limit=3"}, 3, says);
  EXPECT_FALSE(exists("default:/b"));
  fails({"run", "--numtasks", "3", "echo", "ran"}, 125, says);
  EXPECT_EQ(out({"tree"}).find("run-"), std::string::npos);
  limit("default:/a", "3");
  EXPECT_EQ(number("default:/a", "numtasks.limit"), 3u);
  EXPECT_EQ(out({"run", "--best-effort", "--numtasks", "3", "echo", "ran"}), "ran\n");
}

/* What a limit does not hold against here is said once, when one is really set. */
TEST_F(AttributeCommand, WhatALimitDoesNotHoldAgainstIsSaidOnce) {
  need_level(CTN_LEVEL_FALLBACK);
  if (IsSkipped() || HasFatalFailure()) return;
  ASSERT_EQ(ctnbpf({"down"}).code, 0);
  ASSERT_EQ(ctnbpf({"up"}).code, 0);
  const bool weak = !caveat_of(*find_subsystem("numfiles"), state()).empty();
  auto says = [](const std::vector<std::string>& args, int code) {
    Output done = ctnbpf(args);
    EXPECT_EQ(done.code, code) << line_of(args) << done.err;
    return done.err.find("note: of a limit of numfiles") != std::string::npos;
  };
  EXPECT_FALSE(says({"create", "default:/a", "-s", "numfiles.ceiling=many"}, 1));
  EXPECT_FALSE(says({"create", "default:/a", "-s", "numfiles.ceiling=max"}, 0));
  EXPECT_FALSE(says({"set", "default:/a", "numfiles.ceiling=many"}, 1));
  EXPECT_EQ(says({"set", "default:/a", "numfiles.ceiling=9"}, 0), weak);
  EXPECT_FALSE(says({"create", "default:/b", "-s", "numfiles.ceiling=9"}, 0));
}

}  // namespace
}  // namespace ctnbpf::test
