/* Words that the kernel side changes while they are read. */
#pragma once

namespace ctnbpf {

/* Atomic access to words that BPF programs change: a plain load can be torn or kept in a register.
 * The mapped records are C structs, so the atomicity is given at the access. */
template <typename T>
T load(const T& word) {
  return __atomic_load_n(&word, __ATOMIC_ACQUIRE);
}
template <typename T>
void store(T& word, T value) {
  __atomic_store_n(&word, value, __ATOMIC_RELEASE);
}

}  // namespace ctnbpf
