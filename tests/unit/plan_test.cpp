/* Applying layouts, over a machine in plain memory. */
#include <gtest/gtest.h>

#include <algorithm>
#include <random>

#include "../support/memory_machine.h"
#include "ctnbpf/attributes.h"
#include "config/plan.h"
#include "config/resolve.h"
#include "config/schema.h"
#include "config/toml.h"

namespace ctnbpf::config {
namespace {

using test::MemoryMachine;

std::string saved(MemoryMachine& machine) { return to_toml(*machine.read()); }

Plan plan_of(MemoryMachine& machine, const std::string& text, bool prune = false) {
  Parsed parsed = parse_toml(text, "a.toml");
  Layout now = *machine.read();
  Resolved resolved = resolve({parsed.document}, now);
  Plan plan;
  for (const auto* errors : {&parsed.errors, &resolved.errors})
    plan.errors.insert(plan.errors.end(), errors->begin(), errors->end());
  if (plan.errors.empty()) plan = make_plan(resolved.layout, now, machine, prune, false);
  return plan;
}

/* What went wrong; empty: nothing. */
std::string applied(MemoryMachine& machine, const std::string& text, bool prune = false) {
  Plan plan = plan_of(machine, text, prune);
  if (!plan.errors.empty()) return plan.errors[0].what;
  auto done = carry_out(plan, machine);
  return done ? "" : done.error().what;
}

constexpr const char* kFarm =
    "[\"farm:/\"]\n"
    "subsystems = [\"cpuset\", \"cpuacct\", \"numtasks\", \"numfiles\"]\n"
    "notify_on_release = 1\n"
    "cpuset.placement = \"affinity\"\n"
    "numtasks.total_numtasks = 100\n"
    "\n"
    "[\"farm:/jobs\"]\n"
    "notify_on_release = 1\n"
    "cpuset.cpus = \"0-3\"\n"
    "numtasks.limit = 64\n"
    "numfiles.barrier = 40\n"
    "numfiles.limit = 50\n"
    "\n"
    "[\"farm:/jobs/a\"]\n"
    "notify_on_release = 0\n"
    "cpuset.cpus = \"1-2\"\n"
    "numtasks.shares = \"min_shares=60,max_shares=100,child_shares_divisor=200\"\n"
    "\n"
    "[\"farm:/jobs/b\"]\n"
    "notify_on_release = 1\n"
    "numtasks.shares = \"min_shares=40,max_shares=dontcare,child_shares_divisor=100\"\n";

TEST(Apply, MakesTheMachineAsTheFileSaysAndThenChangesNothing) {
  MemoryMachine machine;
  EXPECT_EQ(applied(machine, kFarm), "");
  EXPECT_EQ(saved(machine), kFarm);
  int changes = machine.changes();
  EXPECT_EQ(describe(plan_of(machine, kFarm)), "");
  EXPECT_TRUE(plan_of(machine, kFarm).empty());
  EXPECT_EQ(applied(machine, kFarm), "");
  EXPECT_EQ(machine.changes(), changes);
}

TEST(Apply, SaysWhatWouldChange) {
  MemoryMachine machine;
  EXPECT_EQ(
      describe(plan_of(
          machine, "[\"a:/\"]\nsubsystems = [\"numtasks\"]\n[\"a:/b/c\"]\nnumtasks.limit = 5\n")),
      "+ a:/ subsystems = numtasks\n+ a:/b\n+ a:/b/c\n+ a:/b/c numtasks.limit = 5\n");
  EXPECT_EQ(applied(machine, kFarm), "");
  EXPECT_EQ(describe(plan_of(
                machine, "[\"farm:/jobs\"]\nnumtasks.limit = 'max'\nnumfiles.limit = 50\n", true)),
            "~ farm:/jobs numtasks.limit = max (was 64)\n- farm:/jobs/b\n- farm:/jobs/a\n");
}

/* Whatever change is refused, the machine is as it was. */
TEST(Apply, AllOrNothing) {
  const std::string before =
      "[\"farm:/\"]\nsubsystems = [\"cpuset\", \"cpuacct\", \"numtasks\", \"numfiles\"]\n\n"
      "[\"farm:/jobs\"]\ncpuset.cpus = \"4-7\"\nnumtasks.limit = 5\nnumfiles.barrier = 70\nnumfiles.limit = 80\n\n"
      "[\"farm:/jobs/a\"]\ncpuset.cpus = \"5\"\n"
      "numtasks.shares = \"min_shares=100,max_shares=dontcare,child_shares_divisor=100\"\n";
  std::string wanted = kFarm;
  wanted.replace(wanted.find("cpuset.placement = \"affinity\"\n"), 30, "");
  wanted +=
      "\n[\"more:/\"]\nsubsystems = [\"memset\"]\n\n[\"more:/x\"]\nmemset.memory_migrate = 1\n";
  int refused = 0;
  for (int after = 0;; after++) {
    MemoryMachine machine;
    ASSERT_EQ(applied(machine, before), "");
    ASSERT_EQ(saved(machine), before);
    machine.refuse_after(after);
    std::string error = applied(machine, wanted);
    if (error.empty()) { /* a refused setting is tried again, others are not */
      EXPECT_EQ(saved(machine), wanted) << after;
      machine.refuse_after(0);
      if (after > 60) break;
      continue;
    }
    refused++;
    EXPECT_TRUE(error.starts_with("a.toml:")) << error;
    EXPECT_EQ(saved(machine), before) << after << ": " << error;
  }
  EXPECT_EQ(refused, 5); /* of a hierarchy, two containers and two settings that are inherited */
}

/* One that can never be done takes all others back, and says where it stands. */
TEST(Apply, WhatTheMachineRefusesIsTakenBack) {
  MemoryMachine machine;
  ASSERT_EQ(applied(machine, kFarm), "");
  std::string error = applied(
      machine,
      "[\"farm:/jobs\"]\nnumtasks.limit = 7\n[\"farm:/new/below\"]\nnumtasks.limit = 8\n"
      "[\"farm:/jobs/b\"]\ncpuset.cpus = \"9\"\n[\"other:/\"]\nsubsystems = [\"memset\"]\n");
  EXPECT_EQ(error, "a.toml:6:8: above it has fewer CPUs");
  EXPECT_EQ(saved(machine), kFarm);
}

/* Neither parent nor child can move first; nor can shares or barriers change in any order. */
TEST(Apply, WhatIsInEachOthersWayIsPutInOrder) {
  MemoryMachine machine;
  ASSERT_EQ(applied(machine, kFarm), "");
  std::string moved = kFarm;
  for (const auto& [from, to] : std::vector<std::pair<std::string, std::string>>{
           {"cpuset.cpus = \"0-3\"", "cpuset.cpus = \"4-7\""},
           {"cpuset.cpus = \"1-2\"", "cpuset.cpus = \"5-6\""},
           {"min_shares=60", "min_shares=30"},
           {"min_shares=40", "min_shares=70"},
           {"numfiles.barrier = 40", "numfiles.barrier = 60"},
           {"numfiles.limit = 50", "numfiles.limit = 60"}})
    moved.replace(moved.find(from), from.size(), to);
  EXPECT_EQ(applied(machine, moved), "");
  EXPECT_EQ(saved(machine), moved);
  EXPECT_EQ(applied(machine, kFarm), "");
  EXPECT_EQ(saved(machine), kFarm);
}

TEST(Apply, PruneRemovesWhatIsEmptyInHierarchiesTheFileNames) {
  MemoryMachine machine;
  ASSERT_EQ(applied(machine,
                    "[\"a:/\"]\nsubsystems = []\n[\"a:/empty/x\"]\n[\"a:/used/y\"]\n[\"a:/kept\"]\n"
                    "[\"b:/\"]\nsubsystems = []\n[\"b:/other\"]\n"),
            "");
  machine.put_user("a", {"used", "y"});
  Plan plan = plan_of(machine, "[\"a:/kept\"]\n", true);
  EXPECT_EQ(describe(plan), "- a:/empty/x\n- a:/empty\n");
  auto done = carry_out(plan, machine);
  ASSERT_TRUE(done.has_value());
  EXPECT_EQ(done->stayed.size(), 2u);
  EXPECT_EQ(done->stayed[0], "a:/used/y is in use");
  EXPECT_EQ(saved(machine),
            "[\"a:/\"]\nsubsystems = []\n\n[\"a:/kept\"]\n\n[\"a:/used\"]\n\n[\"a:/used/y\"]\n\n"
            "[\"b:/\"]\nsubsystems = []\n\n[\"b:/other\"]\n");
  EXPECT_TRUE(plan_of(machine, "[\"a:/kept\"]\n", true).empty());
}

TEST(Apply, TheDefaultHierarchyIsMadeWhereThereIsNone) {
  MemoryMachine machine;
  EXPECT_EQ(applied(machine, "[\"default:/a\"]\n"), "");
  EXPECT_EQ(machine.read()->hierarchies[0].subsystems, subsystem_names());
  MemoryMachine other;
  ASSERT_EQ(applied(other, "[\"a:/\"]\nsubsystems = []\n"), "");
  EXPECT_EQ(
      applied(other, "[\"default:/a\"]\n"),
      "a.toml:1:2: no hierarchy 'default': [\"default:/\"] with `subsystems = [...]` makes it");
}

TEST(Apply, KnownToBeImpossibleIsSaidBeforeAnythingIsDone) {
  MemoryMachine machine;
  ASSERT_EQ(applied(machine, "[\"a:/\"]\nsubsystems = [\"numtasks\"]\n[\"a:/x\"]\n"), "");
  int changes = machine.changes();
  EXPECT_EQ(
      applied(machine, "[\"a:/\"]\nsubsystems = []\n[\"a:/y\"]\n"),
      "a.toml:2:1: hierarchy 'a' is there with other subsystems (numtasks), which cannot change while it "
      "is: `ctnbpf hierarchy destroy a` first");
  EXPECT_EQ(
      applied(machine, "[\"b:/\"]\nsubsystems = [\"numtasks\"]\n"),
      "a.toml:2:1: subsystem 'numtasks' is bound to hierarchy 'a': `ctnbpf hierarchy destroy a` first");
  std::string many;
  for (int i = 0; i < 8; i++) many += "[\"h" + std::to_string(i) + ":/\"]\nsubsystems = []\n";
  EXPECT_EQ(applied(machine, many), "a.toml: no room for hierarchies");
  machine.accounting_only = true;
  EXPECT_EQ(applied(machine, "[\"a:/x\"]\nnumtasks.limit = 5\n"),
            "a.toml:2:10: numtasks.limit cannot be enforced");
  EXPECT_EQ(applied(machine, "[\"a:/x\"]\nnumtasks.limit = 'max'\n"), "");
  EXPECT_EQ(machine.changes(), changes);
}

/* A random value that `attribute` takes. */
std::string random_value(const AttributeRef& attribute, std::mt19937& random) {
  auto below = [&](unsigned n) { return static_cast<unsigned>(random() % n); };
  const std::string& name = attribute.full_name;
  std::string initial = attribute.attribute->initial;
  if (name == "release_agent")
    return below(2) == 0 ? "" : "/sbin/agent \\x2d #" + std::to_string(below(9));
  if (name.ends_with(".placement")) return below(2) == 0 ? "auto" : "affinity";
  if (name == "cpuset.cpus" || name == "memset.mems") {
    if (below(3) == 0) return "";
    unsigned first = below(3);
    return name == "cpuset.cpus" ? std::to_string(first) + "-" + std::to_string(first + below(3))
                                 : "0";
  }
  if (name == "numtasks.shares") {
    unsigned least = below(40);
    std::string min = below(2) == 0 ? "dontcare" : std::to_string(least);
    std::string max = below(2) == 0 ? "dontcare" : std::to_string(least + below(60));
    return "min_shares=" + min + ",max_shares=" + max +
           ",child_shares_divisor=" + std::to_string(50 + below(100));
  }
  if (name == "numtasks.forkrate" && below(2) == 0)
    return std::to_string(below(9)) + "/" + std::to_string(1 + below(9));
  if (initial == "0") return std::to_string(below(2));
  if (initial == "max" && below(4) == 0) return "max";
  return std::to_string(1 + below(100));
}

/* `count` commands of all kinds, refused ones too. */
void random_commands(MemoryMachine& machine, std::mt19937& random, int count) {
  auto below = [&](std::size_t n) { return static_cast<std::size_t>(random() % n); };
  const std::vector<std::string> names = {"a",      "b",        "b.c",  "b-c", "x y",
                                          "a\\x2d", "\xc3\xa4", "\xff", "\"q'"};
  std::vector<std::string> free = subsystem_names();
  Layout now;
  for (int i = 0; i < count; i++) {
    if (i % 4 == 0) now = *machine.read(); /* so that some commands come too late */
    if (now.hierarchies.empty() || (below(8) == 0 && now.hierarchies.size() < 8)) {
      std::vector<std::string> its;
      for (const std::string& one : subsystem_names())
        if (below(2) == 0) its.push_back(one);
      (void)machine.make_hierarchy("h" + std::to_string(below(20)), its);
      continue;
    }
    const Hierarchy& hierarchy = now.hierarchies[below(now.hierarchies.size())];
    auto at = std::next(hierarchy.containers.begin(),
                        static_cast<std::ptrdiff_t>(below(hierarchy.containers.size())));
    Path path = at->first;
    switch (below(8)) {
      case 0:
        if (hierarchy.containers.size() == 1 && below(4) == 0)
          (void)machine.unmake_hierarchy(hierarchy.name);
        else
          (void)machine.remove(hierarchy.name, path);
        break;
      case 1:
      case 2:
        path.push_back(names[below(names.size())]);
        (void)machine.make(hierarchy.name, path);
        break;
      default: {
        const AttributeRef& attribute = settable()[below(settable().size())];
        bool bound = attribute.subsystem == nullptr ||
                     std::count(hierarchy.subsystems->begin(), hierarchy.subsystems->end(),
                                attribute.subsystem->name) != 0;
        if (bound)
          (void)machine.set(hierarchy.name, path, attribute, random_value(attribute, random));
      }
    }
  }
}

class Property : public ::testing::Test {
 protected:
  static constexpr int kSequences = 1000;
  static constexpr int kCommands = 60;
};

TEST_F(Property, WhatIsSavedAndAppliedElsewhereIsSavedThereToo) {
  std::size_t said = 0;
  for (int seed = 0; seed < kSequences; seed++) {
    std::mt19937 random(static_cast<unsigned>(seed));
    MemoryMachine machine;
    random_commands(machine, random, kCommands);
    std::string text = saved(machine);
    said += text.size();
    ASSERT_EQ(describe(plan_of(machine, text, true)), "") << "seed " << seed << "\n" << text;
    MemoryMachine fresh;
    ASSERT_EQ(applied(fresh, text), "") << "seed " << seed << "\n" << text;
    ASSERT_EQ(saved(fresh), text) << "seed " << seed;
  }
  EXPECT_GT(said / kSequences, 300u) << "the sequences make next to nothing";
}

/* On a machine that is not empty too, where the file says of each container all that it has. */
TEST_F(Property, OneMachineBecomesAnother) {
  for (int seed = 0; seed < kSequences / 4; seed++) {
    std::mt19937 random(static_cast<unsigned>(seed));
    MemoryMachine machine;
    MemoryMachine model;
    const std::string head = "[\"h:/\"]\nsubsystems = [\"cpuset\", \"numtasks\", \"numfiles\"]\n";
    ASSERT_EQ(applied(machine, head + "[\"h:/a/b\"]\n[\"h:/c\"]\n"), "");
    ASSERT_EQ(applied(model, head + "[\"h:/a/b\"]\n[\"h:/c\"]\n"), "");
    for (MemoryMachine* one : {&machine, &model}) {
      for (int i = 0; i < 40; i++) {
        Path path = std::vector<Path>{{"a"}, {"a", "b"}, {"c"}}[random() % 3];
        const AttributeRef& attribute = settable()[random() % settable().size()];
        (void)one->set("h", path, attribute, random_value(attribute, random));
      }
    }
    /* What a new container has is said as well. */
    Layout wanted = *model.read();
    for (auto& [path, container] : wanted.hierarchies[0].containers)
      for (const AttributeRef& attribute : settable())
        if (!attribute.attribute->shorthand &&
            attribute.attribute->on != (path.empty() ? On::kContainer : On::kRoot) &&
            (attribute.subsystem == nullptr || std::string(attribute.subsystem->name) == "cpuset" ||
             std::string(attribute.subsystem->name) == "numtasks" ||
             std::string(attribute.subsystem->name) == "numfiles"))
          container.settings[attribute.full_name] = {value_of(&container, attribute)};
    std::string text = to_toml(wanted);
    std::string before = saved(machine);
    ASSERT_EQ(applied(machine, text), "") << "seed " << seed << "\nfrom\n"
                                          << before << "\nto\n"
                                          << text;
    ASSERT_EQ(saved(machine), saved(model)) << "seed " << seed << "\n" << before;
  }
}

}  // namespace
}  // namespace ctnbpf::config
