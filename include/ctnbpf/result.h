/* Result<T>: a value or an Error. Names follow std::expected, so that it can become an alias. */
#pragma once

#include <cerrno>
#include <cstring>
#include <optional>
#include <string>
#include <utility>
#include <variant>

namespace ctnbpf {

/* Failure of one operation. `code` is an errno value and is the kind; `what` is one sentence for a
 * person that names the input, the rule and the cure; `detail` is for -v (a verifier log). */
struct Error {
  int code = 0;
  std::string what;
  std::string detail = {};

  /* The same error, with what was being done in front. */
  Error within(const std::string& doing) const { return {code, doing + ": " + what, detail}; }
};

/* An Error from a system call: "WHAT: strerror(code)". */
inline Error system_error(int code, const std::string& what) {
  return {code, what + ": " + std::strerror(code)};
}
inline Error system_error(const std::string& what) { return system_error(errno, what); }

template <typename T>
class [[nodiscard]] Result {
 public:
  Result(T value) : state_(std::in_place_index<0>, std::move(value)) {}
  Result(Error error) : state_(std::in_place_index<1>, std::move(error)) {}

  bool has_value() const { return state_.index() == 0; }
  explicit operator bool() const { return has_value(); }
  T& value() { return std::get<0>(state_); }
  const T& value() const { return std::get<0>(state_); }
  const Error& error() const { return std::get<1>(state_); }
  T& operator*() { return value(); }
  const T& operator*() const { return value(); }
  T* operator->() { return &value(); }
  const T* operator->() const { return &value(); }

 private:
  std::variant<T, Error> state_;
};

template <>
class [[nodiscard]] Result<void> {
 public:
  Result() = default;
  Result(Error error) : error_(std::move(error)) {}

  bool has_value() const { return !error_; }
  explicit operator bool() const { return has_value(); }
  const Error& error() const { return *error_; }

 private:
  std::optional<Error> error_;
};

/* Leaves the function with the error of `expr`, if it has one. */
#define CTN_TRY(expr)                                                                 \
  do {                                                                                \
    if (auto ctn_result = (expr); !ctn_result.has_value()) return ctn_result.error(); \
  } while (0)

#define CTN_CONCAT_(a, b) a##b
#define CTN_CONCAT(a, b) CTN_CONCAT_(a, b)
#define CTN_ASSIGN_(tmp, decl, expr)        \
  auto tmp = (expr);                        \
  if (!tmp.has_value()) return tmp.error(); \
  decl = std::move(*tmp)
/* Declares or assigns `decl` from a Result, or leaves with its error. Three statements: brace it
 * under an `if`. */
#define CTN_ASSIGN(decl, expr) CTN_ASSIGN_(CTN_CONCAT(ctn_tmp_, __LINE__), decl, expr)

}  // namespace ctnbpf
