/* The tree and its shares over plain memory: any changes in any order keep every invariant. */
#include <vector>

#include "ctnbpf/attributes.h"
#include "ctnbpf/containers.h"
#include "fuzz.h"
#include "plain_state.h"

using namespace ctnbpf;

CTN_FUZZ(text) {
  fuzz::Input input(text);
  test::PlainState plain(24);
  Writer writer = plain.writer();
  CTN_MUST(tree::create_hierarchy(writer, "h", {"numtasks", "numfiles"}).has_value());
  auto some = [&] {
    std::vector<Slot> all = tree::subtree(writer, 0);
    return all[input.below(static_cast<std::uint32_t>(all.size()))];
  };
  while (!input.empty()) {
    Slot slot = some();
    switch (input.below(5)) {
      case 0:
        (void)tree::create(writer, slot, std::string(1, static_cast<char>('a' + input.below(4))));
        break;
      case 1: (void)tree::remove(writer, slot, input.below(2) != 0); break;
      case 2:
        (void)tree::rename(writer, slot, std::string(1, static_cast<char>('a' + input.below(4))));
        break;
      default: (void)set_attributes(writer, slot, {input.text()}, false);
    }
  }
  CTN_MUST(tree::check(writer).empty());
  std::vector<std::uint64_t> nobody(writer.nodes().size());
  auto wrong = find_subsystem("numtasks")->check(writer, nobody);
  CTN_MUST(wrong && wrong->empty());
  tree::rebuild(writer);
  CTN_MUST(tree::check(writer).empty());
}
