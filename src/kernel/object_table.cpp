#include "kernel/object_table.h"

#include <algorithm>
#include <cstring>

namespace ctnbpf {
namespace {

Result<Mapping> open_keys(const Pins& pins, const std::string& name, bool writable) {
  return Mapping::open(pins, name + "_keys", sizeof(ctn_key), ~0U, writable);
}

}  // namespace

Result<ObjectTable> ObjectTable::open(const Pins& pins, const std::string& name,
                                      std::uint32_t record_size, bool writable) {
  CTN_ASSIGN(Mapping keys, open_keys(pins, name, writable));
  CTN_ASSIGN(Mapping records, Mapping::open(pins, name + "_records", record_size, ~0U, writable));
  if (records.size() != keys.size())
    return Error{EPROTO, "the table '" + name + "' is not of the form this ctnbpf knows"};
  return ObjectTable(std::move(keys), std::move(records), record_size);
}

Result<std::uint64_t> ObjectTable::count(const Pins& pins, const std::string& name) {
  CTN_ASSIGN(Mapping mapped, open_keys(pins, name, false));
  auto keys = mapped.as<ctn_key>();
  return std::count_if(keys.begin(), keys.end(),
                       [](const ctn_key& key) { return load(key.object) != 0; });
}

bool ObjectTable::in_use() const {
  auto keys = keys_.as<ctn_key>();
  return std::any_of(keys.begin(), keys.end(), [](const ctn_key& key) { return in_use(key); });
}

void ObjectTable::clear() {
  auto keys = keys_.as<ctn_key>();
  char* records = records_.as<char>().data();
  for (std::size_t i = 0; i < keys.size(); i++) {
    if (!in_use(keys[i])) continue;
    std::memset(records + i * record_size_, 0, record_size_);
    keys[i] = {};
  }
}

/* A key is at its home or was displaced; which it is follows from where it is. */
std::vector<std::uint32_t> ObjectTable::wrong_counts() const {
  auto keys = keys_.as<ctn_key>();
  std::vector<std::uint32_t> off(keys.size() * 2);
  for (std::size_t i = 0; i < keys.size(); i++) {
    std::uint64_t object = load(keys[i].object);
    if (object == 0) continue;
    std::size_t home = ctn_key_home(ctn_key_hash(static_cast<__u32>(object)), keys_.size());
    off[home * 2]++;
    if (home != i) off[home * 2 + 1]++;
  }
  for (std::size_t i = 0; i < keys.size(); i++) {
    off[i * 2] -= load(keys[i].home);
    off[i * 2 + 1] -= load(keys[i].displaced);
  }
  return off;
}

std::size_t ObjectTable::correct_counts(const std::vector<std::uint32_t>& by) {
  auto keys = keys_.as<ctn_key>();
  std::size_t wrong = 0;
  for (std::size_t i = 0; i < keys.size() && i * 2 + 1 < by.size(); i++) {
    if (by[i * 2] != 0) __atomic_fetch_add(&keys[i].home, by[i * 2], __ATOMIC_ACQ_REL);
    if (by[i * 2 + 1] != 0) __atomic_fetch_add(&keys[i].displaced, by[i * 2 + 1], __ATOMIC_ACQ_REL);
    wrong += (by[i * 2] != 0) + (by[i * 2 + 1] != 0);
  }
  return wrong;
}

}  // namespace ctnbpf
