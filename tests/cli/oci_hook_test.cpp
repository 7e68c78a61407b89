/* oci-hook, with the state that runtimes give it; with real ones in tests/engines. */
#include <signal.h>
#include <unistd.h>

#include "cli_test.h"

namespace ctnbpf::test {
namespace {

class OciHook : public CliTest {
 protected:
  /* What the hook says and how it ends when it is given this state. */
  static Output hook(const std::string& status, pid_t pid, const std::string& annotations) {
    std::string state = R"({"ociVersion":"1.0.2","id":"c0ffee","status":")" + status +
                        R"(","pid":)" + std::to_string(pid) + R"(,"annotations":{)" + annotations +
                        "}}";
    return run({"sh", "-c", "printf %s \"$0\" | \"$1\" oci-hook", state, ctnbpf_path()});
  }
  static void works(const std::string& status, pid_t pid, const std::string& annotations) {
    Output said = hook(status, pid, annotations);
    EXPECT_EQ(said.code, 0) << said.err;
    EXPECT_EQ(said.out + (said.err.starts_with("ctnbpf: note: ") ? "" : said.err), "");
  }
  static constexpr const char* kLimit = R"("ctnbpf.numtasks":"5","ctnbpf.best-effort":"true")";
};

TEST_F(OciHook, AContainerIsInOneAndItsFiguresStay) {
  Background process([] { return ::pause(); });
  works("creating", process.pid(), kLimit);
  EXPECT_EQ(out({"ps", "default:/oci/c0ffee"}), std::to_string(process.pid()) + "\n");
  EXPECT_EQ(out({"get", "-n", "default:/oci/c0ffee", "numtasks.limit"}), "5\n");
  process.signal(SIGKILL);
  process.wait();
  works("stopped", 0, kLimit);
  EXPECT_FALSE(exists("default:/oci/c0ffee"));
  EXPECT_EQ(json({"stat", "--removed", "default:/oci/c0ffee"}).back()["numtasks"]["peak"], 1);
  works("stopped", 0, kLimit); /* some runtimes call it again */
}

TEST_F(OciHook, BelowTheContainerThatIsNamed) {
  create("default:/jobs");
  Background process([] { return ::pause(); });
  works("created", process.pid(), R"("ctnbpf.container":"default:/jobs")");
  EXPECT_EQ(out({"where", std::to_string(process.pid())}), bound() + ":/jobs/c0ffee\n");
  works("stopped", 0, R"("ctnbpf.container":"default:/jobs")"); /* lingers: the process lives */
  EXPECT_FALSE(exists("default:/jobs/c0ffee"));
}

TEST_F(OciHook, WithoutAnnotationsNothingIsDone) {
  Background process([] { return ::pause(); });
  works("creating", process.pid(), "");
  EXPECT_FALSE(exists("default:/oci"));
}

/* Its failure stops the start; nothing is left of it. */
TEST_F(OciHook, FailsClosed) {
  Background process([] { return ::pause(); });
  auto refused = [&](const std::string& annotations, const std::string& says) {
    Output said = hook("creating", process.pid(), annotations);
    EXPECT_EQ(said.code, 1) << annotations;
    expect_message(said.err, {"c0ffee", says});
    EXPECT_EQ(out({"where", std::to_string(process.pid())}), bound() + ":/\n");
  };
  refused(R"("ctnbpf.numtask":"5")", "did you mean `ctnbpf.numtasks`?");
  refused(R"("ctnbpf.numtasks":"many")", "'many'");
  refused(R"("ctnbpf.container":"default:/nowhere")", "nowhere");
  EXPECT_FALSE(exists("default:/oci/c0ffee"));
  Output gone = hook("creating", 999'999'999,
                     kLimit); /* best effort: it starts, and says why it is outside */
  EXPECT_EQ(gone.code, 0);
  expect_message(gone.err, {"c0ffee", "999999999"});
  EXPECT_FALSE(exists("default:/oci/c0ffee"));
}

/* As when the hook was killed and the runtime then ended what it had made. */
TEST_F(OciHook, WhatAKilledOneLeavesGoesWithTheProcess) {
  Background process([] { return ::pause(); });
  works("creating", process.pid(), kLimit);
  process.signal(SIGKILL);
  process.wait();
  EXPECT_EQ(out({"run", "true"}), "");
  EXPECT_FALSE(exists("default:/oci/c0ffee"));
}

}  // namespace
}  // namespace ctnbpf::test
