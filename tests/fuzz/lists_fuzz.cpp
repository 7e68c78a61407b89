/* Lists of CPUs and nodes: the normal form is read as itself, and sets are sets. */
#include "fuzz.h"
#include "placement/index_set.h"

using namespace ctnbpf;

CTN_FUZZ(text) {
  constexpr std::uint32_t kLimit = 256;
  fuzz::Input input(text);
  IndexSet there;
  for (std::uint32_t n = input.below(16); n != 0; n--) there.add(input.byte());
  auto first = parse_index_set("list", input.text(), kLimit, &there);
  auto second = parse_index_set("list", input.text(), kLimit, &there);
  if (!first || !second) return;
  auto again = parse_index_set("list", first->to_string(), kLimit);
  CTN_MUST(again && *again == *first);
  CTN_MUST((*first & *second).within(*first) && first->within(*first | *second));
  CTN_MUST(first->meets(*second) == !(*first & *second).empty());
  CTN_MUST(!first->without(*second).meets(*second));
  CTN_MUST((first->without(*second) | (*first & *second)) == *first);
  CTN_MUST((*first | *second).count() + (*first & *second).count() ==
           first->count() + second->count());
}
