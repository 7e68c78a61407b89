/* The tables of tasks and of files (bpf/table.bpf.h) as the control plane sees them. Programs change
 * them all the time, so what is read is what each word was at some moment. */
#pragma once

#include <cstdint>
#include <vector>

#include "ctnbpf/abi.h"
#include "ctnbpf/state.h"
#include "mapping.h"

namespace ctnbpf {

class ObjectTable {
 public:
  /* `name`: "task" or "file". */
  static Result<ObjectTable> open(const Pins& pins, const std::string& name,
                                  std::uint32_t record_size, bool writable);

  /* How many objects are entered. */
  static Result<std::uint64_t> count(const Pins& pins, const std::string& name);

  /* Calls `one` with the address and the record of each object that is entered. */
  template <typename Record, typename One>
  void each(const One& one) const {
    auto buckets = buckets_.as<ctn_bucket>();
    auto records = records_.as<Record>();
    for (std::size_t b = 0; b < buckets.size(); b++) {
      if (load(buckets[b].home) == 0 && !any_key(buckets[b])) continue;
      for (std::size_t i = 0; i < CTN_BUCKET_KEYS; i++)
        if (std::uint64_t key = load(buckets[b].key[i]); key != 0)
          one(key, records[b * CTN_BUCKET_KEYS + i]);
    }
  }

  /* By how much the counts of each bucket differ from what the keys make them, modulo 2^32: `home` of
   * bucket b at 2 b, `spilled` at 2 b + 1. */
  std::vector<std::uint32_t> wrong_counts() const;
  /* Adds to the counts what such a list says; how many were wrong. */
  std::size_t correct_counts(const std::vector<std::uint32_t>& by);

 private:
  ObjectTable(Mapping buckets, Mapping records)
      : buckets_(std::move(buckets)), records_(std::move(records)) {}
  static bool any_key(const ctn_bucket& bucket);

  Mapping buckets_;
  Mapping records_;
};

}  // namespace ctnbpf
