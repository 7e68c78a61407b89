/* What plugstack.conf and the user ask of the containers of a step. */
#include "engines/slurm.h"

#include <gtest/gtest.h>

namespace ctnbpf::slurm {
namespace {

using Words = std::vector<std::string>;

Wish wish(const Words& conf, const Words& asked = {}, const std::string& partition = "") {
  auto got = wish_of(conf, asked, partition);
  EXPECT_TRUE(got.has_value()) << got.error().what;
  return got ? *got : Wish{};
}
std::string why_not(const Words& conf, const Words& asked = {}) {
  auto got = wish_of(conf, asked, "");
  return got ? "" : got.error().what;
}
bool may(const std::string& ceiling, const std::string& asked) {
  return why_not({"max-forkrate=" + ceiling}, {"forkrate=" + asked}).empty();
}

TEST(Slurm, WithoutAWordThereIsNoLimit) {
  Wish nothing = wish({});
  EXPECT_TRUE(nothing.parents.empty() && nothing.job.empty() && nothing.step.empty());
  EXPECT_FALSE(nothing.best_effort || nothing.stat);
  EXPECT_EQ(wish({}, {"numfiles=20"}).step, Words{"numfiles.ceiling=20"});
}

TEST(Slurm, WordsOfPlugstackConf) {
  Wish all = wish({"container=default:/jobs", "container=owners:/x", "numtasks=64",
                   "job-numtasks=512", "best-effort", "stat"});
  EXPECT_EQ(all.parents, (Words{"default:/jobs", "owners:/x"}));
  EXPECT_EQ(all.step, Words{"numtasks.limit=64"});
  EXPECT_EQ(all.job, Words{"numtasks.limit=512"});
  EXPECT_TRUE(all.best_effort && all.stat);
}

/* Users lower what there is, and raise a default only as far as they may. */
TEST(Slurm, UsersLowerAndDoNotRaise) {
  EXPECT_EQ(wish({"numfiles=64"}, {"numfiles=20"}).step, Words{"numfiles.ceiling=20"});
  EXPECT_NE(why_not({"numfiles=64"}, {"numfiles=65"}).find("--ctn-numfiles=65: the most"),
            std::string::npos);
  EXPECT_FALSE(why_not({"numfiles=64"}, {"numfiles=max"}).empty());
  EXPECT_EQ(wish({"numfiles=64", "max-numfiles=100"}, {"numfiles=100"}).step,
            Words{"numfiles.ceiling=100"});
  EXPECT_FALSE(why_not({"numfiles=64", "max-numfiles=100"}, {"numfiles=101"}).empty());
  EXPECT_EQ(wish({"numfiles=64", "max-numfiles=max"}, {"numfiles=max"}).step,
            Words{"numfiles.ceiling=max"});
  /* Who asks for nothing and has no default gets the most there is. */
  EXPECT_EQ(wish({"max-numfiles=100"}).step, Words{"numfiles.ceiling=100"});
}

/* Who keeps to the rate that is asked for has to keep to the other, whatever the seconds. */
TEST(Slurm, RatesAreCompared) {
  EXPECT_TRUE(may("100/10", "100/10"));
  EXPECT_TRUE(may("100/10", "50/5"));
  EXPECT_TRUE(may("100/10", "100/20"));
  EXPECT_TRUE(may("100/10", "0"));
  EXPECT_FALSE(may("100/10", "11"));     /* 110 in 10 s */
  EXPECT_FALSE(may("100/10", "60/9"));   /* 120 of them can be in 10 s */
  EXPECT_FALSE(may("100/10", "200/40")); /* at once */
  EXPECT_TRUE(may("max", "max"));
  EXPECT_FALSE(may("100", "max"));
  EXPECT_FALSE(may("100", "4294967295/4294967295"));
}

TEST(Slurm, APartitionsOwnWordsStandForTheOthers) {
  const Words conf{"numfiles=64", "max-numfiles@big=4096", "numfiles@big=1024",
                   "job-numtasks@big=9"};
  EXPECT_EQ(wish(conf, {}, "small").step, Words{"numfiles.ceiling=64"});
  EXPECT_EQ(wish(conf, {}, "big").step, Words{"numfiles.ceiling=1024"});
  EXPECT_EQ(wish(conf, {}, "big").job, Words{"numtasks.limit=9"});
  EXPECT_EQ(wish(conf, {"numfiles=4096"}, "big").step, Words{"numfiles.ceiling=4096"});
  EXPECT_FALSE(wish_of(conf, {"numfiles=65"}, "small").has_value());
  EXPECT_FALSE(wish_of(conf, {"numfiles=65"}, "").has_value());
}

TEST(Slurm, WhatMeansNothingIsNamed) {
  EXPECT_NE(why_not({"numfile=3"}).find("did you mean `numfiles`?"), std::string::npos);
  EXPECT_NE(why_not({"max-numtask=3"}).find("did you mean `max-numtasks`?"), std::string::npos);
  EXPECT_NE(why_not({"numfiles"}).find("'numfiles' is unknown"), std::string::npos);
  EXPECT_NE(why_not({"numfiles@=3"}).find("'numfiles@=3' is unknown"), std::string::npos);
  EXPECT_NE(why_not({"numfiles=3", "numfiles=4"}).find("'numfiles' is there twice"),
            std::string::npos);
  EXPECT_NE(why_not({"container=jobs"}).find("jobs"), std::string::npos);
  EXPECT_NE(why_not({}, {"files=3"}).find("'files=3'"), std::string::npos);
  for (const char* text : {"", "-1", "1k", "1/", "/1", "1/0", "99999999999", "1 "})
    EXPECT_NE(why_not({"max-forkrate=9"}, {std::string("forkrate=") + text}).find("neither `max`"),
              std::string::npos)
        << text;
}

}  // namespace
}  // namespace ctnbpf::slurm
