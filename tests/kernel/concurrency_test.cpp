/* Commands at the same time: writers wait for each other, readers wait for nobody, and what they may
 * fail with is what the state of the moment calls for. */
#include <sys/wait.h>
#include <unistd.h>

#include <random>
#include <set>

#include "ctnbpf/removed.h"
#include "ctnbpf/membership.h"
#include "ctnbpf/attach.h"
#include "ctnbpf/attributes.h"
#include "ctnbpf/containers.h"
#include "kernel_test.h"
#include "storm.h"
#include "workload.h"

namespace ctnbpf::test {
namespace {

class Concurrency : public KernelTest {};

using Random = std::mt19937;
using Allowed = std::set<int>;

std::string pick(Random& random, std::initializer_list<const char*> from) {
  return *(from.begin() + static_cast<std::ptrdiff_t>(random() % from.size()));
}

/* Some container that may be there, and the parent of one that may be made. */
std::string some_path(Random& random) {
  std::string path = "default:/" + pick(random, {"a", "b", "c"});
  for (int depth = static_cast<int>(random() % 3); depth > 0; depth--)
    path += "/" + pick(random, {"a", "b", "c"});
  return path;
}

/* One command, as another process would give it; the error, if any, and which ones may be. */
std::pair<Result<void>, Allowed> one_change(const Pins& pins, Random& random, pid_t task) {
  auto writer = Writer::open(pins);
  if (!writer) return {writer.error(), {}};
  std::string path = some_path(random);
  auto what = static_cast<std::uint32_t>(random() % 100);
  if (what < 4) {
    std::string name = "h" + std::to_string(random() % 3);
    std::uint32_t there = tree::hierarchy_named(*writer, name);
    if (there < CTN_MAX_HIER) return {tree::destroy_hierarchy(*writer, there), {EBUSY}};
    auto made = tree::create_hierarchy(*writer, name, {});
    return {made ? Result<void>() : made.error(), {ENOSPC}};
  }
  if (what < 40) {
    auto address = parse_address(path);
    std::string name = address->path.back();
    address->path.pop_back();
    auto parent = tree::find(*writer, *address);
    if (!parent) return {parent.error(), {ENOENT}};
    auto made = tree::create(*writer, *parent, name);
    return {made ? Result<void>() : made.error(), {EEXIST}};
  }
  auto slot = tree::find(*writer, path);
  if (!slot) return {slot.error(), {ENOENT}};
  if (what < 65) return {tree::remove(*writer, *slot, random() % 2 == 0), {EBUSY}};
  if (what < 75) return {tree::rename(*writer, *slot, pick(random, {"a", "b", "c"})), {EEXIST}};
  if (what < 85) {
    std::string value = std::to_string(random() % 1000 + 100);
    return {
        set_attributes(*writer, *slot, {"numtasks.limit=" + value, "notify_on_release=1"}, true),
        {}};
  }
  auto moved = attach(*writer, *slot, task, false);
  return {moved ? Result<void>() : moved.error(), {ESRCH}};
}

/* Ends with 0, or says what was wrong. However slow the machine is, some is done. */
int write_for(const Pins& pins, unsigned seed, time_t end) {
  constexpr int kFewest = 20;
  Random random(seed);
  Sleepers own(1);
  for (int i = 0; i < kFewest || ::time(nullptr) < end; i++) {
    auto [result, allowed] = one_change(pins, random, own.pids()[0]);
    if (!result && !allowed.contains(result.error().code)) {
      std::fprintf(stderr, "writer: error %d: %s\n", result.error().code,
                   result.error().what.c_str());
      return 1;
    }
    fork_and_reap(1L);
  }
  return 0;
}

/* Everything there is to read of every container. */
Result<void> read_all(const Pins& pins) {
  CTN_ASSIGN(State state, State::open(pins));
  for (std::uint32_t h = 0; h < CTN_MAX_HIER; h++) {
    if (!tree::hierarchy_active(state, h)) continue;
    for (Slot slot : tree::subtree(state, h)) {
      std::string address = tree::address_of(state, slot);
      CTN_ASSIGN(Address parsed, parse_address(address)); /* no torn name */
      for (const Subsystem* subsystem : bound_subsystems(state, h)) {
        if (subsystem->figures == nullptr) continue;
        CTN_TRY(subsystem->figures(state, slot));
      }
    }
  }
  CTN_TRY(walk_tasks(pins));
  CTN_TRY(removed_containers(state));
  for (const AttributeRef& one : attributes_of(state, 0)) CTN_TRY(one.attribute->read(state, 0));
  return {};
}

int read_for(const Pins& pins, time_t end) {
  do {
    if (auto done = read_all(pins); !done) {
      std::fprintf(stderr, "reader: error %d: %s\n", done.error().code, done.error().what.c_str());
      return 1;
    }
  } while (::time(nullptr) < end);
  return 0;
}

/* The fixture's fsck finds the state clean at the end. */
TEST_F(Concurrency, EightWritersAndEightReaders) {
  time_t end = ::time(nullptr) + storm_seconds();
  std::vector<Background> all;
  for (unsigned i = 0; i < 8; i++) {
    all.emplace_back([&, i] { return write_for(pins(), i + 1, end); });
    all.emplace_back([&] { return read_for(pins(), end); });
  }
  for (std::size_t i = 0; i < all.size(); i++)
    EXPECT_EQ(all[i].wait(), 0) << (i % 2 == 0 ? "writer" : "reader");
  EXPECT_GT(load(state().core().tombs), 0u);
}

}  // namespace
}  // namespace ctnbpf::test
