/* Fixture of the tests that need the kernel. Loading costs seconds in an emulated machine, so ctnbpf
 * is brought up once for the binary; each test starts with the default layout alone, and ends with a
 * check of every invariant and the removal of every hierarchy, which fails if anything is left in
 * one. Tests of loading itself take it down and up again. */
#pragma once

#include <gtest/gtest.h>

#include "ctnbpf/levels.h"
#include "ctnbpf/membership.h"
#include "ctnbpf/state.h"
#include "ctnbpf/subsystem.h"
#include "ctnbpf/tree.h"
#include "ctnbpf/service.h"
#include "ctnbpf/pins.h"
#include "process.h"

namespace ctnbpf::test {

class KernelTest : public ::testing::Test {
 protected:
  void SetUp() override;
  void TearDown() override;
  /* How ctnbpf is brought up, if it is not up with these sizes. */
  virtual LoadSettings settings() const { return {}; }

  /* Skips the test (in the VM: fails it) below this level. */
  void need_level(ctn_level level);
  ctn_level level() const { return level_; }

  const Pins& pins() const { return pins_; }
  State state() const;
  Slot slot(const std::string& address) const;
  std::uint64_t number(const std::string& address, const std::string& attribute) const;
  /* Through the library, in this process; failures fail the test. */
  void create(const std::string& address, const std::vector<std::string>& settings = {});
  void remove(const std::string& address); /* lazily */
  void set(const std::string& address, const std::vector<std::string>& settings);
  void attach_pid(const std::string& address, pid_t pid);
  bool exists(const std::string& address) const;
  /* A child that is in `address` before it runs `body`. */
  Background start_in(const std::string& address, const std::function<int()>& body);

  void free_dead_tasks();
  /* Attaching and detaching take most of a second under emulation, so hooks stay attached from test to
   * test. From here on in this test they go with the hierarchies that need them, as ever. */
  void detach_unused_hooks();

 private:
  void keep_hooks(bool keep);
  void destroy_all();

  Pins pins_{kDefaultPinRoot};
  ctn_level level_ = CTN_LEVEL_NONE;
  bool up_ = false;
};

/* Skip, or failure where CTNBPF_REQUIRE_KERNEL says that a skip would hide something. */
#define CTN_SKIP(reason)                                 \
  do {                                                   \
    if (std::getenv("CTNBPF_REQUIRE_KERNEL") != nullptr) \
      FAIL() << "would be skipped: " << (reason);        \
    GTEST_SKIP() << (reason);                            \
  } while (0)

}  // namespace ctnbpf::test
