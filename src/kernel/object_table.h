/* The tables of tasks and of files (bpf/table.bpf.h) as the control plane sees them. Programs change
 * them all the time, so what is read is what each word was at some moment. */
#pragma once

#include <cstdint>
#include <vector>

#include "ctnbpf/abi.h"
#include "ctnbpf/atomics.h"
#include "kernel/mapping.h"

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
    auto keys = keys_.as<ctn_key>();
    auto records = records_.as<Record>();
    for (std::size_t i = 0; i < keys.size(); i++)
      if (std::uint64_t object = load(keys[i].object); object != 0) one(object, records[i]);
  }

  /* Has any place a key, or a count of one? */
  bool in_use() const;
  /* Makes all of that zero, with the records; for when no program runs. */
  void clear();

  /* By how much the counts of each place differ from what the keys make them, modulo 2^32: `home` of
   * place i at 2 i, `displaced` at 2 i + 1. */
  std::vector<std::uint32_t> wrong_counts() const;
  /* Adds to the counts what such a list says; how many were wrong. */
  std::size_t correct_counts(const std::vector<std::uint32_t>& by);

 private:
  ObjectTable(Mapping keys, Mapping records, std::uint32_t record_size)
      : keys_(std::move(keys)), records_(std::move(records)), record_size_(record_size) {}
  static bool in_use(const ctn_key& key) { return load(key.home) != 0 || load(key.object) != 0; }

  Mapping keys_;
  Mapping records_;
  std::uint32_t record_size_;
};

}  // namespace ctnbpf
