/* Files of libcgroup and OpenVZ: each corner of their grammars, and whole files (tests/unit/layouts). */
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>

#include "config/import.h"
#include "config/resolve.h"

namespace ctnbpf::config {
namespace {

const std::set<std::string> kUsers = {"root", "alice", "bob", "carol", "two words"};
const std::set<std::string> kGroups = {"operators", "guests", "plan1", "plan2"};

Accounts accounts() {
  return {[](const std::string& name) { return kUsers.contains(name); },
          [](const std::string& name) { return kGroups.contains(name); }};
}

std::string read(const std::filesystem::path& path) {
  std::ifstream file(path);
  std::ostringstream out;
  out << file.rdbuf();
  return out.str();
}

std::string dropped(const Imported& imported) {
  std::string out;
  for (const Dropped& one : imported.dropped) out += one.what + "\n";
  return out;
}

Imported import(const std::string& name, const std::string& text) {
  if (name.find(".cgrules.") != std::string::npos) return import_cgrules(text, name, accounts());
  if (name.find(".cgconfig.") != std::string::npos) return import_cgconfig(text, name);
  return import_vz(text, name);
}

TEST(Import, WholeFiles) {
  int files = 0;
  for (const auto& entry :
       std::filesystem::directory_iterator(CTNBPF_SOURCE_DIR "/tests/unit/layouts")) {
    const std::filesystem::path& path = entry.path();
    if (path.extension() != ".conf") continue;
    files++;
    std::string name = path.filename();
    Imported imported = import(name, read(path));
    ASSERT_TRUE(imported.errors.empty()) << imported.errors[0].what;
    auto beside = [&](const char* extension) {
      return read(std::filesystem::path(path).replace_extension(extension));
    };
    EXPECT_EQ(to_toml(imported.layout), beside(".toml")) << name;
    EXPECT_EQ(dropped(imported), beside(".dropped")) << name;
    /* And it is a layout. */
    Parsed parsed = parse_toml(to_toml(imported.layout), name);
    EXPECT_TRUE(parsed.errors.empty()) << name << ": " << parsed.errors[0].what;
    Resolved resolved = resolve({parsed.document}, {});
    EXPECT_TRUE(resolved.errors.empty()) << name << ": " << resolved.errors[0].what;
    EXPECT_EQ(to_toml(resolved.layout), beside(".toml")) << name;
  }
  EXPECT_GE(files, 7);
}

/* --- cgrules.conf --- */

/* The rules, without their dropped lines. */
std::string rules(const std::string& text) {
  Imported imported = import_cgrules(text, "r", accounts());
  std::string out;
  for (const Error& error : imported.errors) out += error.what + "\n";
  for (const Rule& rule : imported.layout.rules) {
    out += rule.user + (rule.program.empty() ? "" : "|" + rule.program) + " ->";
    for (const std::string& one : rule.to) out += " " + one;
    out += rule.ignore ? " ignore\n" : "\n";
  }
  return out;
}

std::string dropped_rules(const std::string& text) {
  return dropped(import_cgrules(text, "r", accounts()));
}

TEST(CgRules, AHashEndsALineAnywhere) {
  EXPECT_EQ(rules("alice pids a # b\n#alice pids b\n  # c\n"), "alice -> numtasks:/a\n");
  EXPECT_EQ(rules("alice pids a#b\n"), "alice -> numtasks:/a\n");
  EXPECT_EQ(rules("\"alice:#x\" pids a\n"),
            "r:1: a quote is not closed: a `#` ends the line even inside quotes\n");
}

TEST(CgRules, BlanksAndEnds) {
  EXPECT_EQ(rules(" \t alice \t pids\t\ta  \r\n\n \t\nbob pids b"),
            "alice -> numtasks:/a\nbob -> numtasks:/b\n");
}

TEST(CgRules, Quotes) {
  EXPECT_EQ(rules("\"*:/opt/two words\" pids a\n"), "*|/opt/two words -> numtasks:/a\n");
  EXPECT_EQ(rules("*:\"/opt/two words\" pids \"a b\"/c\n"),
            "*|/opt/two words -> numtasks:/a b/c\n");
  EXPECT_EQ(rules("alice pids \"a b\n"),
            "r:1: a quote is not closed: a `#` ends the line even inside quotes\n");
}

TEST(CgRules, TheFirstColonBeginsTheProcess) {
  EXPECT_EQ(rules("alice:a:b pids x\n@guests:/bin/sh pids x\n*: pids y\n"),
            "alice|a:b -> numtasks:/x\n@guests|/bin/sh -> numtasks:/x\n* -> numtasks:/y\n");
  EXPECT_EQ(rules("alice:bin/sh pids x\n"), "");
  EXPECT_NE(dropped_rules("alice:bin/sh pids x\n").find("fits nothing"), std::string::npos);
}

TEST(CgRules, Controllers) {
  EXPECT_EQ(rules("alice cpuset,pids,cpuacct a\n"),
            "alice -> cpuset:/a memset:/a numtasks:/a cpuacct:/a\n");
  EXPECT_EQ(rules("alice * a\n"), "alice -> *:/a\n");
  EXPECT_EQ(dropped_rules("alice cpuset,name=systemd a\n"),
            "r:1: dropped: controller 'name=systemd' has no counterpart\n");
}

/* As it is the first that fits, those after it do not count for its processes. */
TEST(CgRules, ARuleForOthersControllersStillKeepsTheNextAway) {
  EXPECT_EQ(rules("alice memory a\n* pids b\n"), "alice -> ignore\n* -> numtasks:/b\n");
}

TEST(CgRules, Destinations) {
  EXPECT_EQ(rules("alice pids /a//b/\n"), "alice -> numtasks:/a/b\n");
  EXPECT_EQ(rules("alice pids /\nbob pids .\n"), "alice -> numtasks:/\nbob -> numtasks:/\n");
  EXPECT_EQ(rules("alice pids %u/%U/%g/%G/%p/%P\n"), "alice -> numtasks:/%u/%U/%g/%G/%p/%P\n");
  EXPECT_EQ(rules("alice pids a\\%u\\\\b\n"), "alice -> numtasks:/a%%u\\\\b\n");
  EXPECT_EQ(rules("alice pids 50%/%x/%%u\n"), "alice -> numtasks:/50%%/%%x/%%%u\n");
  EXPECT_EQ(rules("alice pids a\\"), "alice -> numtasks:/a\\\\\n");
  EXPECT_EQ(rules("alice pids a/../b\n"), "r:1: destination 'a/../b': a path without '..'\n");
}

TEST(CgRules, ContinuationLines) {
  EXPECT_EQ(rules("alice pids a\n% cpuacct b\n% cpuset c\nbob pids d\n"),
            "alice -> numtasks:/a cpuacct:/b cpuset:/c memset:/c\nbob -> numtasks:/d\n");
  EXPECT_EQ(rules("alice pids a\n% pids b\n"), "alice -> numtasks:/b\n");
  EXPECT_EQ(rules("alice pids a\n%:x cpuacct b\n"), "alice -> numtasks:/a cpuacct:/b\n");
  EXPECT_EQ(rules("# none above\n% pids a\n"),
            "r:2: `%` stands for the user of the line above, and there is none\n");
}

TEST(CgRules, UnknownUsersAreSkippedWithTheirContinuationLines) {
  const std::string text =
      "mallory pids a\n% cpuset b\n@thieves pids c\n% cpuset d\nalice pids e\n";
  EXPECT_EQ(rules(text), "alice -> numtasks:/e\n");
  EXPECT_EQ(dropped_rules(text),
            "r:1: dropped: user 'mallory' is unknown here, and libcgroup skips such a line\n"
            "r:2: dropped: it goes on with a line that was dropped\n"
            "r:3: dropped: group 'thieves' is unknown here, and libcgroup skips such a line\n"
            "r:4: dropped: it goes on with a line that was dropped\n");
}

TEST(CgRules, Options) {
  EXPECT_EQ(rules("alice pids a ignore\nbob pids a ignore_rt\n"),
            "alice -> ignore\nbob -> numtasks:/a\n");
  EXPECT_EQ(rules("alice pids a ignore,ignore_rt\n"), "alice -> ignore\n");
  EXPECT_EQ(dropped_rules("bob pids a ignore_rt\n"), "r:1: dropped: option 'ignore_rt'\n");
}

TEST(CgRules, TooFewWords) {
  EXPECT_NE(rules("alice pids\n").find("r:1: a rule is `USER[:PROCESS] CONTROLLERS DESTINATION"),
            std::string::npos);
}

TEST(CgRules, LongLinesAreReadWhole) {
  std::string path;
  for (int i = 0; i < 100; i++) path += "/" + std::string(100, 'a');
  EXPECT_EQ(rules("alice pids " + path + "\n"), "alice -> numtasks:" + path + "\n");
}

/* --- cgconfig.conf --- */

std::string config(const std::string& text) {
  Imported imported = import_cgconfig(text, "c");
  return imported.errors.empty() ? to_toml(imported.layout) : imported.errors[0].what;
}

TEST(CgConfig, CommentsHaveALineOfTheirOwn) {
  EXPECT_EQ(config("# a\n  # b\n* c\ngroup x {\n # d { \n pids { }\n}\n"),
            "[\"default:/\"]\n\n[\"default:/x\"]\n");
  EXPECT_EQ(config("group x {\n pids { pids.max = 5; # five\n } }\n"),
            "c:2: a comment has a line of its own: libcgroup does not take one after a setting");
}

TEST(CgConfig, WordsAndQuotes) {
  EXPECT_EQ(
      config("group a_1-b/c.d,e%f@g { \"pids\" { pids.max = \"5\"; } }"),
      "[\"default:/\"]\n\n[\"default:/a_1-b\"]\n\n[\"default:/a_1-b/c.d,e%f@g\"]\nnumtasks.limit = 5\n");
  EXPECT_EQ(config("group \"two words\" { pids { } }"),
            "[\"default:/\"]\n\n[\"default:/two words\"]\n");
  EXPECT_EQ(config("group a { pids { release:x = 1; } }"),
            "c:1: ':' cannot stand here: put values with it in quotes");
  EXPECT_EQ(config("group \"a\n"), "c:1: a quote is not closed");
  /* There are no escapes: the backslash is one, and the quote ends. */
  EXPECT_EQ(config("group \"a\\\" { pids { } }"), "[\"default:/\"]\n\n['default:/a\\']\n");
}

TEST(CgConfig, Groups) {
  EXPECT_EQ(config("group . { pids { notify_on_release = 1; } }"),
            "[\"default:/\"]\nnotify_on_release = 1\n");
  EXPECT_EQ(config("group default { pids { } }"), "[\"default:/\"]\n\n[\"default:/default\"]\n");
  EXPECT_EQ(config("group x { }"), "");
  EXPECT_EQ(
      config(
          "group x { pids { pids.max = 1; } }\ngroup x { pids { pids.max = 2; } cpuset { cpuset.cpus = 0; } }"),
      "[\"default:/\"]\n\n[\"default:/x\"]\ncpuset.cpus = \"0\"\nnumtasks.limit = 2\n");
  EXPECT_NE(config("group a/../b { pids { } }").find("c:1: "), std::string::npos);
}

TEST(CgConfig, SyntaxErrors) {
  EXPECT_EQ(config("group x {\n pids { pids.max = 5 }\n}"), "c:2: '}' is where `;` should be");
  EXPECT_EQ(config("group x {\n pids {"), "c:2: the file ends where a name or `}` should be");
  EXPECT_EQ(config("grup x { }"),
            "c:1: 'grup' is where mount, group, template, default, namespace or systemd should be");
  EXPECT_EQ(config("group x { perm { other { } } }"),
            "c:1: 'other' is where task, admin or `}` should be");
  EXPECT_EQ(config("group { }"), "c:1: '{' is where the group's name should be");
  EXPECT_EQ(config("mount { pids /x; }"), "c:1: '/x' is where `=` should be");
}

/* Passed on as it is, and it is not one of ours. */
TEST(CgConfig, ValuesThatCannotBe) {
  EXPECT_NE(
      config("group x {\npids { pids.max = 50G; } }").find("c:2: numtasks.limit cannot be '50G'"),
      std::string::npos);
}

TEST(CgConfig, MountsAtOnePlaceAreOneHierarchy) {
  EXPECT_EQ(
      config(
          "mount { cpuset = /a; pids = /b; cpuacct = /a; }\ngroup x { cpuset { } pids { } cpuacct { } }"),
      "[\"cpuset:/\"]\nsubsystems = [\"cpuset\", \"memset\", \"cpuacct\"]\n\n[\"cpuset:/x\"]\n\n"
      "[\"numtasks:/\"]\nsubsystems = [\"numtasks\"]\n\n[\"numtasks:/x\"]\n");
}

/* --- OpenVZ --- */

std::string vz(const std::string& text, const std::string& name = "/etc/vz/conf/7.conf") {
  Imported imported = import_vz(text, name);
  return imported.errors.empty() ? to_toml(imported.layout) : imported.errors[0].what;
}

TEST(Vz, Amounts) {
  const std::string head = "[\"default:/\"]\n\n[\"default:/7\"]\n";
  EXPECT_EQ(vz(""), head);
  EXPECT_EQ(vz("NUMPROC=\"40\"\n"), head + "numtasks.limit = 40\n");
  EXPECT_EQ(vz("NUMPROC=40:50\n"), head + "numtasks.limit = 50\n");
  EXPECT_EQ(vz("NUMPROC='2k:2K'"), head + "numtasks.limit = 2048\n");
  EXPECT_EQ(vz("NUMPROC=\"unlimited\"\n"), head + "numtasks.limit = \"max\"\n");
  EXPECT_EQ(vz("NUMPROC=\"2147483647:2147483647\"\n"), head + "numtasks.limit = \"max\"\n");
  EXPECT_EQ(vz("NUMFILE=\"1M:9223372036854775807\"\n"),
            head + "numfiles.barrier = 1048576\nnumfiles.limit = \"max\"\n");
  EXPECT_EQ(vz("NUMFILE=\"1P:2P\"\n"), head + "numfiles.barrier = 4096\nnumfiles.limit = 8192\n");
  EXPECT_EQ(vz("NUMFILE=\"9G:99999999999999999999\"\n"),
            head + "numfiles.barrier = 9663676416\nnumfiles.limit = \"max\"\n");
  EXPECT_EQ(vz(" # a\n\n  NUMPROC = \"5\" # b\r\n"), head + "numtasks.limit = 5\n");
}

TEST(Vz, WhatIsWrong) {
  EXPECT_TRUE(
      vz("NUMPROC=\"5:4\"\n").starts_with("/etc/vz/conf/7.conf:1: NUMPROC cannot be '5:4'"));
  EXPECT_TRUE(
      vz("\nNUMFILE=\"5X\"\n").starts_with("/etc/vz/conf/7.conf:2: NUMFILE cannot be '5X'"));
  EXPECT_TRUE(vz("NUMPROC=\"\"\n").starts_with("/etc/vz/conf/7.conf:1: NUMPROC cannot be ''"));
  EXPECT_TRUE(vz("NUMPROC=\"5\n").starts_with("/etc/vz/conf/7.conf:1: the quote of NUMPROC"));
  EXPECT_TRUE(vz("NUMPROC\n").starts_with("/etc/vz/conf/7.conf:1: 'NUMPROC' is not of the form"));
  EXPECT_TRUE(vz("CPUMASK=\"x\"\n").starts_with("/etc/vz/conf/7.conf:1: CPUMASK: cpuset.cpus"));
  EXPECT_TRUE(vz("", "-").starts_with("'-' is not named like"));
}

TEST(Vz, WhatIsDropped) {
  EXPECT_EQ(dropped(import_vz("PRIVVMPAGES=\"1:2\"\nNUMPROC=4:5\nCPUMASK=all\n", "7.conf")),
            "7.conf:1: dropped: PRIVVMPAGES=\"1:2\"\n"
            "7.conf:2: dropped: the barrier of NUMPROC=\"4:5\": the limit is what binds\n"
            "7.conf:3: dropped: CPUMASK=\"all\": that is so without it\n");
}

}  // namespace
}  // namespace ctnbpf::config
