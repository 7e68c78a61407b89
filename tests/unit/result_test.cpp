/* Result and Error. */
#include "ctnbpf/result.h"

#include <gtest/gtest.h>

#include <memory>

namespace ctnbpf {
namespace {

Result<int> half(int number) {
  if (number % 2 != 0) return Error{EINVAL, "odd"};
  return number / 2;
}

Result<int> quarter(int number) {
  CTN_ASSIGN(int once, half(number));
  CTN_ASSIGN(once, half(once));
  return once;
}

Result<void> check(int number) {
  CTN_TRY(half(number));
  return {};
}

TEST(Result, ValueOrError) {
  auto good = half(4);
  EXPECT_TRUE(good.has_value());
  EXPECT_TRUE(static_cast<bool>(good));
  EXPECT_EQ(*good, 2);
  EXPECT_EQ(good.value(), 2);
  auto bad = half(3);
  EXPECT_FALSE(bad.has_value());
  EXPECT_EQ(bad.error().code, EINVAL);
  EXPECT_EQ(bad.error().what, "odd");
}

TEST(Result, OfNothing) {
  EXPECT_TRUE(check(2).has_value());
  EXPECT_EQ(check(1).error().what, "odd");
}

TEST(Result, PassesErrorsOn) {
  EXPECT_EQ(*quarter(8), 2);
  EXPECT_EQ(quarter(1).error().what, "odd");
  EXPECT_EQ(quarter(6).error().what, "odd");
}

/* A Result of an Error-like type stays a value: the alternatives are told apart by place. */
TEST(Result, HoldsMoveOnlyAndStrings) {
  Result<std::unique_ptr<int>> pointer(std::make_unique<int>(5));
  EXPECT_EQ(**pointer, 5);
  std::unique_ptr<int> out = std::move(*pointer);
  EXPECT_EQ(*out, 5);
  Result<std::string> text(std::string("x"));
  EXPECT_EQ(text->size(), 1u);
}

TEST(Error, WithinPutsWhatWasDoneInFront) {
  Error inner{ENOENT, "no such thing", "details"};
  Error outer = inner.within("load it");
  EXPECT_EQ(outer.code, ENOENT);
  EXPECT_EQ(outer.what, "load it: no such thing");
  EXPECT_EQ(outer.detail, "details");
}

TEST(Error, OfASystemCall) {
  EXPECT_EQ(system_error(ENOENT, "open 'x'").what, "open 'x': No such file or directory");
  errno = EACCES;
  Error last = system_error("open 'y'");
  EXPECT_EQ(last.code, EACCES);
  EXPECT_EQ(last.what, "open 'y': Permission denied");
}

}  // namespace
}  // namespace ctnbpf
