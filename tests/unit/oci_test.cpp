/* What an OCI runtime tells its hooks. */
#include "engines/oci.h"

#include <gtest/gtest.h>

namespace ctnbpf::oci {
namespace {

constexpr const char* kRunc =
    R"({"ociVersion":"1.0.2-dev","id":"4f1c","status":"creating","pid":4711,
  "bundle":"/b","annotations":{"ctnbpf.numtasks":"5","org.opencontainers.image.stopSignal":"15"}})";

std::string why(const std::string& json) {
  auto state = parse_state(json);
  return state ? "" : state.error().what;
}
std::string why_not(const std::map<std::string, std::string>& annotations) {
  auto wish = wish_of(annotations);
  return wish ? "" : wish.error().what;
}

TEST(Oci, AStateIsRead) {
  auto state = parse_state(kRunc);
  ASSERT_TRUE(state.has_value());
  EXPECT_EQ(state->id, "4f1c");
  EXPECT_EQ(state->pid, 4711);
  EXPECT_FALSE(state->stopped);
  EXPECT_EQ(state->annotations, (std::map<std::string, std::string>{{"ctnbpf.numtasks", "5"}}));
  /* At poststop there is no process any more, and of no annotations some write null. */
  state = parse_state(R"({"id":"x","status":"stopped","annotations":null})");
  ASSERT_TRUE(state.has_value());
  EXPECT_TRUE(state->stopped && state->annotations.empty());
  EXPECT_TRUE(parse_state(R"({"id":"x","status":"created","pid":1})").has_value());
}

TEST(Oci, WhatIsNoStateIsNamed) {
  EXPECT_NE(why("").find("is no JSON object"), std::string::npos);
  EXPECT_NE(why("[1]").find("is no JSON object"), std::string::npos);
  EXPECT_NE(why(R"({"status":"created","pid":1})").find("has no `id`"), std::string::npos);
  EXPECT_NE(why(R"({"id":"x","pid":1})").find("has no `status`"), std::string::npos);
  EXPECT_NE(why(R"({"id":"x","status":"created"})").find("has no `pid`"), std::string::npos);
  EXPECT_NE(why(R"({"id":"x","status":"created","pid":"1"})").find("that is no number"),
            std::string::npos);
  EXPECT_NE(why(R"({"id":"x","status":"created","pid":1,"annotations":{"ctnbpf.numtasks":5}})")
                .find("annotation 'ctnbpf.numtasks' that is no text"),
            std::string::npos);
}

TEST(Oci, AnnotationsAreTheOptionsOfRun) {
  auto wish = wish_of({{"ctnbpf.numtasks", "5"},
                       {"ctnbpf.forkrate", "10/2"},
                       {"ctnbpf.set.numtasks.shares", "min_shares=10"},
                       {"ctnbpf.container", " default:/jobs  numtasks:/x "},
                       {"ctnbpf.best-effort", "true"}});
  ASSERT_TRUE(wish.has_value());
  EXPECT_EQ(wish->settings, (std::vector<std::string>{"numtasks.forkrate=10/2", "numtasks.limit=5",
                                                      "numtasks.shares=min_shares=10"}));
  EXPECT_EQ(wish->parents, (std::vector<std::string>{"default:/jobs", "numtasks:/x"}));
  EXPECT_TRUE(wish->best_effort);
  EXPECT_TRUE(wish_of({})->empty());
  EXPECT_TRUE(wish_of({{"ctnbpf.best-effort", "1"}})->empty());
}

/* What is not understood would be a limit that does not hold. */
TEST(Oci, UnknownOnesAreRefused) {
  EXPECT_NE(why_not({{"ctnbpf.numtask", "5"}}).find("did you mean `ctnbpf.numtasks`?"),
            std::string::npos);
  EXPECT_NE(why_not({{"ctnbpf.best-effort", "yes"}}).find("'yes' is neither true nor false"),
            std::string::npos);
  EXPECT_NE(why_not({{"ctnbpf.container", "nowhere"}}), "");
}

}  // namespace
}  // namespace ctnbpf::oci
