#include "object_table.h"

#include <algorithm>
#include <bit>

namespace ctnbpf {

Result<ObjectTable> ObjectTable::open(const Pins& pins, const std::string& name,
                                      std::uint32_t record_size, bool writable) {
  CTN_ASSIGN(Mapping buckets,
             Mapping::open(pins, name + "_buckets", sizeof(ctn_bucket), ~0U, writable));
  CTN_ASSIGN(Mapping records, Mapping::open(pins, name + "_records", record_size, ~0U, writable));
  if (!std::has_single_bit(buckets.size()) ||
      records.size() < std::uint64_t{buckets.size()} * CTN_BUCKET_KEYS)
    return Error{EPROTO, "the table '" + name + "' is not of the form this ctnbpf knows"};
  return ObjectTable(std::move(buckets), std::move(records));
}

Result<std::uint64_t> ObjectTable::count(const Pins& pins, const std::string& name) {
  CTN_ASSIGN(Mapping mapped,
             Mapping::open(pins, name + "_buckets", sizeof(ctn_bucket), ~0U, false));
  std::uint64_t count = 0;
  for (const ctn_bucket& bucket : mapped.as<ctn_bucket>())
    count += std::count_if(std::begin(bucket.key), std::end(bucket.key),
                           [](const __u64& key) { return load(key) != 0; });
  return count;
}

bool ObjectTable::any_key(const ctn_bucket& bucket) {
  return std::any_of(std::begin(bucket.key), std::end(bucket.key),
                     [](const __u64& key) { return load(key) != 0; });
}

/* A key is in its home or in the second bucket; which it is follows from where it lies. */
std::vector<std::uint32_t> ObjectTable::wrong_counts() const {
  auto buckets = buckets_.as<ctn_bucket>();
  std::vector<std::uint32_t> off(buckets.size() * 2);
  auto bits = static_cast<__u32>(std::countr_zero(buckets.size()));
  for (std::size_t b = 0; b < buckets.size(); b++)
    for (const __u64& word : buckets[b].key) {
      std::uint64_t key = load(word);
      if (key == 0) continue;
      std::size_t home = ctn_home_bucket(ctn_address_hash(static_cast<__u32>(key)), bits);
      off[home * 2]++;
      if (home != b) off[home * 2 + 1]++;
    }
  for (std::size_t b = 0; b < buckets.size(); b++) {
    off[b * 2] -= load(buckets[b].home);
    off[b * 2 + 1] -= load(buckets[b].spilled);
  }
  return off;
}

std::size_t ObjectTable::correct_counts(const std::vector<std::uint32_t>& by) {
  auto buckets = buckets_.as<ctn_bucket>();
  std::size_t wrong = 0;
  for (std::size_t b = 0; b < buckets.size() && b * 2 + 1 < by.size(); b++) {
    if (by[b * 2] != 0) __atomic_fetch_add(&buckets[b].home, by[b * 2], __ATOMIC_ACQ_REL);
    if (by[b * 2 + 1] != 0)
      __atomic_fetch_add(&buckets[b].spilled, by[b * 2 + 1], __ATOMIC_ACQ_REL);
    wrong += (by[b * 2] != 0) + (by[b * 2 + 1] != 0);
  }
  return wrong;
}

}  // namespace ctnbpf
