/* The task table: from a task_struct's address to its record (see struct ctn_bucket in abi.h).
 *
 * Why not task storage or a hash map: an uncontained task must cost next to nothing on every fork
 * and exit, a contained one must not depend on an allocation that can fail, and no path may find a
 * bucket lock busy. docs/design.md has the comparison. */
#ifndef CTNBPF_BPF_TASKS_BPF_H
#define CTNBPF_BPF_TASKS_BPF_H

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(map_flags, BPF_F_MMAPABLE);
  __uint(max_entries, 1); /* a power of two, set at load */
  __type(key, __u32);
  __type(value, struct ctn_bucket);
} task_buckets SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(map_flags, BPF_F_MMAPABLE);
  __uint(max_entries, 1); /* CTN_BUCKET_KEYS a bucket */
  __type(key, __u32);
  __type(value, struct ctn_task);
} task_records SEC(".maps");

/* log2 of the number of buckets */
const volatile __u32 task_bucket_bits = 4;

/* The verifier forbids arithmetic on a typed pointer. A 32-bit move of it is a plain number, and
 * its low half is enough to choose buckets; keys are compared whole. */
static __always_inline __u32 address_hash(const void *object) {
  __u32 low;
  asm volatile("%0 = %1" : "=w"(low) : "w"((__u32)(unsigned long)object));
  return low * 0x9e3779b1U;
}

static __always_inline __u32 home_bucket(__u32 hash) {
  return hash >> (32 - task_bucket_bits);
}

static __always_inline __u32 second_bucket(__u32 hash) {
  __u32 mask = (1U << task_bucket_bits) - 1;
  return (home_bucket(hash) ^ (((hash & 0xffff) << 1) | 1)) & mask;
}

/* Place of `object` in the bucket, or -1. */
static __always_inline int bucket_find(struct ctn_bucket *bucket, const void *object) {
  for (int i = 0; i < CTN_BUCKET_KEYS; i++)
    if (*(volatile __u64 *)&bucket->key[i] == (__u64)object) return i;
  return -1;
}

/* Claims an empty place for `object`, or -1. Its record is zero: see task_remove. */
static __always_inline int bucket_claim(struct ctn_bucket *bucket, const void *object) {
  for (int i = 0; i < CTN_BUCKET_KEYS; i++)
    if (*(volatile __u64 *)&bucket->key[i] == 0 &&
        __sync_val_compare_and_swap(&bucket->key[i], 0, (__u64)object) == 0)
      return i;
  return -1;
}

static __always_inline struct ctn_task *task_record(__u32 bucket, int place) {
  __u32 index = bucket * CTN_BUCKET_KEYS + place;
  return bpf_map_lookup_elem(&task_records, &index);
}

/* The record of a task, or NULL if it is in every root. The caller is the task itself, or holds it
 * alive: a record goes only when its task_struct is freed. */
static __always_inline struct ctn_task *task_find(const struct task_struct *task) {
  __u32 hash = address_hash(task);
  __u32 at = home_bucket(hash);
  struct ctn_bucket *bucket = bpf_map_lookup_elem(&task_buckets, &at);
  if (!bucket || !*(volatile __u32 *)&bucket->home) return NULL;
  int place = bucket_find(bucket, task);
  if (place < 0) {
    if (!*(volatile __u32 *)&bucket->spilled) return NULL;
    at = second_bucket(hash);
    bucket = bpf_map_lookup_elem(&task_buckets, &at);
    if (!bucket) return NULL;
    place = bucket_find(bucket, task);
    if (place < 0) return NULL;
  }
  return task_record(at, place);
}

/* Makes a record; NULL when both buckets are full. At any time only one program inserts a given
 * task: the fork gate before the child is visible, newtask before it can run, or the mover, which
 * leaves alone what is still TASK_NEW. */
static __always_inline struct ctn_task *task_insert(const struct task_struct *task) {
  __u32 hash = address_hash(task);
  __u32 home = home_bucket(hash), second = second_bucket(hash);
  struct ctn_bucket *bucket = bpf_map_lookup_elem(&task_buckets, &home);
  if (!bucket) return NULL;
  /* Before the key, so that a look-up which could find the key does not stop at the count. */
  __sync_fetch_and_add(&bucket->home, 1);
  int place = bucket_claim(bucket, task);
  if (place >= 0) return task_record(home, place);

  struct ctn_bucket *other = bpf_map_lookup_elem(&task_buckets, &second);
  if (other) {
    __sync_fetch_and_add(&bucket->spilled, 1);
    place = bucket_claim(other, task);
    if (place >= 0) return task_record(second, place);
    __sync_fetch_and_add(&bucket->spilled, -1);
  }
  __sync_fetch_and_add(&bucket->home, -1);
  return NULL;
}

/* Drops a record. It is zeroed before its place is given up, so a claimed place is always zero. */
static __always_inline void task_remove(const struct task_struct *task) {
  __u32 hash = address_hash(task);
  __u32 home = home_bucket(hash), at = home;
  struct ctn_bucket *first = bpf_map_lookup_elem(&task_buckets, &home);
  if (!first) return;
  struct ctn_bucket *bucket = first;
  int place = bucket_find(bucket, task);
  if (place < 0) {
    at = second_bucket(hash);
    bucket = bpf_map_lookup_elem(&task_buckets, &at);
    if (!bucket) return;
    place = bucket_find(bucket, task);
    if (place < 0) return;
  }
  struct ctn_task *record = task_record(at, place);
  if (!record) return;
  __builtin_memset(record, 0, sizeof(*record));
  if (place < CTN_BUCKET_KEYS) __sync_lock_test_and_set(&bucket->key[place], 0);
  if (bucket != first) __sync_fetch_and_add(&first->spilled, -1);
  __sync_fetch_and_add(&first->home, -1);
}

/* Slot of a task in the hierarchy a subsystem is bound to; 0 while it is unbound. */
static __always_inline __u32 task_slot(const struct ctn_task *task, __u32 subsystem) {
  __u32 hierarchy = core.bound[subsystem];
  if (!hierarchy) return 0;
  return task->slot[(hierarchy - 1) & (CTN_MAX_HIER - 1)] & ~CTN_EXITED;
}

#endif
