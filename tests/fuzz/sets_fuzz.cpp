/* The rules between sets of containers: whatever is asked for, what was allowed keeps them. */
#include <array>
#include <vector>

#include "fuzz.h"
#include "placement/rules.h"

using namespace ctnbpf;

namespace {

constexpr Slot kContainers = 8;

struct Sets {
  std::array<IndexSet, kContainers> own;
  std::array<bool, kContainers> exclusive{};
  /* 0 is the root; 1 to 3 are its children, 4 and 5 those of 1, 6 and 7 those of 4. */
  static constexpr std::array<Slot, kContainers> kParent = {0, 0, 0, 0, 1, 1, 4, 4};

  SetTree tree() {
    return {.subsystem = "cpuset",
            .list = "cpus",
            .exclusive_name = "cpu_exclusive",
            .own = [this](Slot slot) { return own[slot]; },
            .exclusive = [this](Slot slot) { return slot == 0 || exclusive[slot]; },
            .parent = [](Slot slot) { return kParent[slot]; },
            .children =
                [](Slot slot) {
                  std::vector<Slot> below;
                  for (Slot one = 1; one < kContainers; one++)
                    if (kParent[one] == slot) below.push_back(one);
                  return below;
                },
            .name = [](Slot slot) { return std::to_string(slot); }};
  }
};

}  // namespace

CTN_FUZZ(text) {
  fuzz::Input input(text);
  IndexSet all;
  for (std::uint32_t cpu = 0; cpu < 8; cpu++) all.add(cpu);
  Sets sets;
  sets.own[0] = all;
  SetTree tree = sets.tree();
  while (!input.empty()) {
    Slot slot = 1 + input.below(kContainers - 1);
    if (input.below(2) == 0) {
      std::uint64_t bits = input.byte();
      IndexSet wanted(std::span(&bits, 1));
      if (check_set(tree, slot, wanted, all)) sets.own[slot] = wanted;
    } else {
      bool wanted = input.below(2) != 0;
      if (check_exclusive(tree, slot, wanted)) sets.exclusive[slot] = wanted;
    }
    for (Slot one = 1; one < kContainers; one++) {
      const IndexSet& own = sets.own[one];
      CTN_MUST(own.empty() || own.within(set_in_force(tree, Sets::kParent[one], all)));
      if (!sets.exclusive[one]) continue;
      CTN_MUST(Sets::kParent[one] == 0 || sets.exclusive[Sets::kParent[one]]);
      for (Slot other = 1; other < kContainers; other++)
        if (other != one && Sets::kParent[other] == Sets::kParent[one])
          CTN_MUST(!own.meets(sets.own[other]));
    }
  }
}
