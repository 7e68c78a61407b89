/* Order between CPUs that x86-64 has by itself and arm64 has not; docs/memory-ordering.md goes through all steps
 * that need one. An atomic operation whose result is used is a full barrier; one whose result nobody uses orders
 * nothing on arm64, as a compare-and-swap that fails. */
#ifndef CTNBPF_BPF_ORDER_BPF_H
#define CTNBPF_BPF_ORDER_BPF_H

/* Adds, and is a full barrier. */
#define add_in_order(word, what)                              \
  ({                                                          \
    typeof(*(word)) was = __sync_fetch_and_add((word), what); \
    asm volatile("" : "+r"(was));                             \
  })

/* 0, known to the CPU only when `seen` has been read: what is read at an address it was added to, is read after
 * that. To be made before `seen` is compared, or the compiler uses what it is equal to.
 * full_barrier() writes to `word`, which nobody else should be using just now. */
#ifdef __TARGET_ARCH_arm64
static __always_inline __u64 zero_after(__u64 seen) {
  asm volatile("%0 &= 0" : "+r"(seen));
  return seen;
}
#define full_barrier(word) add_in_order(word, 0)
#else
static __always_inline __u64 zero_after(__u64 seen) { return 0; }
#define full_barrier(word) ((void)(word))
#endif

#endif
