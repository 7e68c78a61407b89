/* Tables of kernel objects, found by address (struct ctn_key in abi.h says how they are laid out). A table
 * is two arrays, NAME_keys and NAME_records, and the number of its places. The functions here know its
 * keys only, and speak of an object by its place. They are inlined, so that the table is a constant in
 * each; what is seldom needed is out of line, so that programs save no registers for it. */
#ifndef CTNBPF_BPF_TABLE_BPF_H
#define CTNBPF_BPF_TABLE_BPF_H

#include "order.bpf.h"
#include "section.bpf.h"

#define NO_PLACE (~0ULL)

/* The loader makes them as large as `NAME_places` says. */
#define CTN_TABLE(name, record_type)        \
  CTN_SECTION(name##_keys, struct ctn_key); \
  CTN_SECTION(name##_records, record_type); \
  const volatile __u32 name##_places = 1

/* The verifier forbids arithmetic on a typed pointer. A 32-bit move of it is a plain number, and its low
 * half is enough to choose places; keys are compared whole. */
static __always_inline __u64 object_hash(const void *object) {
  __u32 low;
  asm("%0 = %1" : "=w"(low) : "w"((__u32)(unsigned long)object));
  return ctn_key_hash(low);
}

/* The compiler must not make one shift and a mask of the shift in here and the one to an address: the verifier
 * would not see the bound any more. */
static __always_inline __u64 place_of(__u64 hash, __u32 places) {
  __u64 place = ctn_key_home(hash, places);
  asm("" : "+r"(place));
  return place;
}

/* `place` if it is the object's, else NO_PLACE. What is then read of its record is no older than the key. */
static __always_inline __u64 place_if_key(const struct ctn_key *key, const void *object,
                                          __u64 place) {
  __u64 seen = *(volatile __u64 *)&key->object, zero = zero_after(seen);
  return seen == (__u64)object ? place + zero : NO_PLACE;
}

static __always_inline bool key_claim(struct ctn_key *key, const void *object) {
  if (*(volatile __u64 *)&key->object) return false;
  __u64 seen = __sync_val_compare_and_swap(&key->object, 0, (__u64)object);
  asm volatile("" : "+r"(seen)); /* see counter_try_charge() */
  return !seen;
}

static __always_inline __u64 table_home(const volatile __u32 *places, const void *object) {
  return place_of(object_hash(object), *places);
}

/* Is the place anybody's home? If an object's home is nobody's, the object is not in the table. This is
 * all that objects in no table cost. */
static __always_inline bool key_is_home(const struct ctn_key *key) {
  return *(volatile __u32 *)&key->home;
}

/* Where an object is that may have been displaced. */
static __noinline __u64 table_search(struct ctn_key *keys, __u32 places, const void *object) {
  __u64 hash = object_hash(object);
  for (int i = 1; i < CTN_KEY_TRIES; i++) {
    hash = ctn_key_next(hash);
    __u64 place = place_of(hash, places);
    place = place_if_key(section_at(keys, place), object, place);
    if (place != NO_PLACE) return place;
  }
  return NO_PLACE;
}

/* The place of an object, or NO_PLACE; `home` is its home, and somebody's, `key` the key there. */
static __always_inline __u64 table_find_from(struct ctn_key *keys, const volatile __u32 *places,
                                             const void *object, __u64 home,
                                             const struct ctn_key *key) {
  __u64 place = place_if_key(key, object, home);
  if (place != NO_PLACE) return place;
  return *(volatile __u32 *)&key->displaced ? table_search(keys, *places, object) : NO_PLACE;
}

static __always_inline __u64 table_find(struct ctn_key *keys, const volatile __u32 *places,
                                        const void *object) {
  __u64 home = table_home(places, object);
  struct ctn_key *key = section_at(keys, home);
  return key_is_home(key) ? table_find_from(keys, places, object, home, key) : NO_PLACE;
}

/* The rest of table_insert() where the home is taken. */
static __noinline __u64 table_displace(struct ctn_key *keys, __u32 places, const void *object) {
  __u64 hash = object_hash(object);
  struct ctn_key *home = section_at(keys, place_of(hash, places));
  /* Before the key, so that a look-up which could find the key does not stop at the count. */
  __sync_fetch_and_add(&home->displaced, 1);
  for (int i = 1; i < CTN_KEY_TRIES; i++) {
    hash = ctn_key_next(hash);
    __u64 place = place_of(hash, places);
    if (key_claim(section_at(keys, place), object)) return place;
  }
  __sync_fetch_and_add(&home->displaced, -1);
  __sync_fetch_and_add(&home->home, -1);
  return NO_PLACE;
}

/* Enters an object that is not in the table: its place, whose record is zero, or NO_PLACE when all that
 * were tried are taken. `home` and `key` as above, but it may be nobody's yet. */
static __always_inline __u64 table_insert_from(struct ctn_key *keys, const volatile __u32 *places,
                                               const void *object, __u64 home,
                                               struct ctn_key *key) {
  __sync_fetch_and_add(&key->home, 1); /* likewise before the key */
  return key_claim(key, object) ? home : table_displace(keys, *places, object);
}

static __always_inline __u64 table_insert(struct ctn_key *keys, const volatile __u32 *places,
                                          const void *object) {
  __u64 home = table_home(places, object);
  return table_insert_from(keys, places, object, home, section_at(keys, home));
}

#define CTN_KEY_GOING 1 /* no object's address: the place of one that is being removed */

/* Of several that would remove what was found, one gets true: the record is its own from then on. */
static __always_inline bool key_take(struct ctn_key *key, const void *object) {
  __u64 seen = __sync_val_compare_and_swap(&key->object, (__u64)object, CTN_KEY_GOING);
  asm volatile("" : "+r"(seen)); /* likewise */
  return seen == (__u64)object;
}

/* Gives up a key; `home` is that of its object's home, which `displaced` says is another one. Zero the record
 * first, so that a claimed place's is zero. */
static __always_inline void key_remove(struct ctn_key *key, struct ctn_key *home, bool displaced) {
  __sync_lock_test_and_set(&key->object, 0);
  if (displaced) __sync_fetch_and_add(&home->displaced, -1);
  __sync_fetch_and_add(&home->home, -1);
}

#endif
