/* The BPF object before it is loaded: what of it depends on the machine and on the options of `up`. */
#pragma once

#include <cstdint>
#include <string>

#include "ctnbpf/levels.h"
#include "ctnbpf/result.h"

struct bpf_object;

namespace ctnbpf {

class Loading {
 public:
  struct Facts {
    const Levels& levels;
    std::uint32_t slots; /* roots included */
    std::uint32_t cpus;  /* that there can be */
    std::uint32_t tasks; /* contained ones at one time */
  };

  Loading(bpf_object* object, const Facts& its) : facts(its), object_(object) {}

  const Facts facts;

  /* Gives the array `name` so many entries: a map, or the data section `.data.NAME` (bpf/section.bpf.h). A name
   * that the object does not have is a mistake of ours, as with the others: ENOENT. */
  Result<void> size(const std::string& name, std::uint32_t entries);
  Result<void> size_key(const std::string& name, std::uint32_t bytes);
  /* Sets a constant (`const volatile`) of the programs. */
  Result<void> set(const std::string& name, std::uint64_t value);

 private:
  bpf_object* object_;
};

}  // namespace ctnbpf
