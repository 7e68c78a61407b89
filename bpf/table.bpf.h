/* Tables of kernel objects, found by address (struct ctn_bucket in abi.h says how they are laid out).
 * A table is two arrays, NAME_buckets and NAME_records, and the number of its buckets; the functions
 * here know its buckets only, and speak of a record by its number. They are inlined, so that the map
 * is a constant in each. */
#ifndef CTNBPF_BPF_TABLE_BPF_H
#define CTNBPF_BPF_TABLE_BPF_H

#define NO_RECORD (~0U)

#define CTN_TABLE(name, record_type)                          \
  struct {                                                    \
    __uint(type, BPF_MAP_TYPE_ARRAY);                         \
    __uint(map_flags, BPF_F_MMAPABLE);                        \
    __uint(max_entries, 1); /* a power of two, set at load */ \
    __type(key, __u32);                                       \
    __type(value, struct ctn_bucket);                         \
  } name##_buckets SEC(".maps");                              \
  struct {                                                    \
    __uint(type, BPF_MAP_TYPE_ARRAY);                         \
    __uint(map_flags, BPF_F_MMAPABLE);                        \
    __uint(max_entries, 1); /* CTN_BUCKET_KEYS a bucket */    \
    __type(key, __u32);                                       \
    __type(value, record_type);                               \
  } name##_records SEC(".maps");                              \
  const volatile __u32 name##_bucket_bits = 4 /* log2 of the number of buckets */

/* The verifier forbids arithmetic on a typed pointer. A 32-bit move of it is a plain number, and
 * its low half is enough to choose buckets; keys are compared whole. */
static __always_inline __u32 address_hash(const void *object) {
  __u32 low;
  asm volatile("%0 = %1" : "=w"(low) : "w"((__u32)(unsigned long)object));
  return ctn_address_hash(low);
}

static __always_inline __u32 second_bucket(__u32 hash, __u32 bits) {
  __u32 mask = (1U << bits) - 1;
  return (ctn_home_bucket(hash, bits) ^ (((hash & 0xffff) << 1) | 1)) & mask;
}

/* Place of `object` in the bucket, or -1. */
static __always_inline int bucket_find(struct ctn_bucket *bucket, const void *object) {
  for (int i = 0; i < CTN_BUCKET_KEYS; i++)
    if (*(volatile __u64 *)&bucket->key[i] == (__u64)object) return i;
  return -1;
}

/* Claims an empty place from `first` on and before `end` for `object`, or -1. */
static __always_inline int bucket_claim(struct ctn_bucket *bucket, const void *object, int first,
                                        int end) {
  for (int i = first; i < end; i++) {
    if (*(volatile __u64 *)&bucket->key[i]) continue;
    __u64 seen = __sync_val_compare_and_swap(&bucket->key[i], 0, (__u64)object);
    asm volatile("" : "+r"(seen)); /* see counter_try_charge() */
    if (!seen) return i;
  }
  return -1;
}

/* Where an object's key is. */
struct table_place {
  struct ctn_bucket *home;
  struct ctn_bucket *bucket; /* the home, or the second bucket */
  int place;
  __u32 record; /* NO_RECORD: nowhere */
};

/* The object's home bucket if any key calls it home; NULL: the object is not in the table. This is all
 * that objects in no table cost. A program that most objects leave here calls the rest out of line
 * (table_find_in), so that it saves no registers for it. */
static __always_inline struct ctn_bucket *table_home(void *buckets, __u32 bits,
                                                     const void *object) {
  __u32 number = ctn_home_bucket(address_hash(object), bits);
  struct ctn_bucket *home = bpf_map_lookup_elem(buckets, &number);
  return home && *(volatile __u32 *)&home->home ? home : NULL;
}

/* `home` is what table_home() found. */
static __always_inline struct table_place table_find_in(void *buckets, __u32 bits,
                                                        const void *object,
                                                        struct ctn_bucket *home) {
  struct table_place at = {.home = home, .bucket = home, .record = NO_RECORD};
  if (!home) return at;
  __u32 hash = address_hash(object);
  __u32 number = ctn_home_bucket(hash, bits);
  at.place = bucket_find(home, object);
  if (at.place < 0) {
    if (!*(volatile __u32 *)&at.home->spilled) return at;
    number = second_bucket(hash, bits);
    at.bucket = bpf_map_lookup_elem(buckets, &number);
    if (!at.bucket) return at;
    at.place = bucket_find(at.bucket, object);
    if (at.place < 0) return at;
  }
  at.record = number * CTN_BUCKET_KEYS + at.place;
  return at;
}

static __always_inline struct table_place table_find(void *buckets, __u32 bits,
                                                     const void *object) {
  return table_find_in(buckets, bits, object, table_home(buckets, bits, object));
}

/* So many places of a bucket are for its own keys first; from there on the two buckets of a key are
 * filled evenly. Without that, some pair of buckets is full when the table is half as full as it was
 * made for; with it, none is even then (tried with random slabs of objects). */
#define TABLE_OWN_PLACES 4

/* Enters an object that is not in the table: its record, which is zero, or NO_RECORD when both its
 * buckets are full. */
static __always_inline __u32 table_insert(void *buckets, __u32 bits, const void *object) {
  __u32 hash = address_hash(object);
  __u32 home = ctn_home_bucket(hash, bits), second = second_bucket(hash, bits);
  struct ctn_bucket *bucket = bpf_map_lookup_elem(buckets, &home);
  if (!bucket) return NO_RECORD;
  /* Before the key, so that a look-up which could find the key does not stop at the count. */
  __sync_fetch_and_add(&bucket->home, 1);
  int place = bucket_claim(bucket, object, 0, TABLE_OWN_PLACES);
  if (place >= 0) return home * CTN_BUCKET_KEYS + place;

  struct ctn_bucket *other = bpf_map_lookup_elem(buckets, &second);
  if (other) {
    __sync_fetch_and_add(&bucket->spilled, 1); /* likewise */
    place = bucket_claim(other, object, 0, TABLE_OWN_PLACES);
    if (place >= 0) return second * CTN_BUCKET_KEYS + place;
    for (int i = TABLE_OWN_PLACES; i < CTN_BUCKET_KEYS; i++) {
      if (bucket_claim(bucket, object, i, i + 1) >= 0) {
        __sync_fetch_and_add(&bucket->spilled, -1);
        return home * CTN_BUCKET_KEYS + i;
      }
      if (bucket_claim(other, object, i, i + 1) >= 0) return second * CTN_BUCKET_KEYS + i;
    }
    __sync_fetch_and_add(&bucket->spilled, -1);
  }
  __sync_fetch_and_add(&bucket->home, -1);
  return NO_RECORD;
}

#define CTN_KEY_GOING 1 /* no object's address: the place of one that is being removed */

/* Of several that would remove what was found, one gets true: the record is its own from then on. */
static __always_inline bool table_take(const struct table_place *at, const void *object) {
  if (!at->bucket || at->place < 0 || at->place >= CTN_BUCKET_KEYS) return false;
  __u64 *key = &at->bucket->key[at->place];
  return __sync_val_compare_and_swap(key, (__u64)object, CTN_KEY_GOING) == (__u64)object;
}

/* Gives up the place of what was found. Zero its record first, so that a claimed place's is zero. */
static __always_inline void table_remove(const struct table_place *at) {
  if (!at->bucket || !at->home) return;
  if (at->place >= 0 && at->place < CTN_BUCKET_KEYS)
    __sync_lock_test_and_set(&at->bucket->key[at->place], 0);
  if (at->bucket != at->home) __sync_fetch_and_add(&at->home->spilled, -1);
  __sync_fetch_and_add(&at->home->home, -1);
}

#endif
