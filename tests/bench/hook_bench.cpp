/* hook_bench NAME [PID]: loads and attaches the programs of stores.bpf.c whose names begin with NAME_,
 * says `attached`, and keeps them until its standard input ends. The process PID counts as contained. */
#include <cerrno>

#include "ctnbpf/abi.h"
#include "kernel/map_size.h"

#include "stores.skel.h"

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>

namespace {

constexpr unsigned kMaxTasks = 131072;

int fail(const char* what, int err) {
  std::fprintf(stderr, "hook_bench: %s: %s\n", what, std::strerror(-err));
  return 1;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) {
    std::fprintf(stderr, "usage: hook_bench NAME [PID]\n");
    return 2;
  }
  std::string prefix = std::string(argv[1]) + "_";
  std::unique_ptr<stores_bpf, void (*)(stores_bpf*)> stores(stores_bpf__open(),
                                                            stores_bpf__destroy);
  if (!stores) return fail("open", -errno);
  int chosen = 0;
  bpf_program* program = nullptr;
  bpf_object__for_each_program(program, stores->obj) {
    bool wanted = std::string(bpf_program__name(program)).starts_with(prefix);
    bpf_program__set_autoload(program, wanted);
    chosen += wanted;
  }
  if (chosen == 0) return fail(argv[1], -ENOENT);
  /* As the loader does: a third of the places free. */
  constexpr unsigned kPlaces = kMaxTasks * 3 / 2;
  for (const char* map : {"task_keys", "task_records"})
    if (!ctnbpf::size_map(stores->obj, map, kPlaces)) return fail("make the table", -errno);
  stores->rodata->task_places = kPlaces;
  stores->data_member->member = argc > 2 ? static_cast<unsigned>(std::atoi(argv[2])) : 0;
  if (int err = stores_bpf__load(stores.get()); err != 0) return fail("load", err);
  if (int err = stores_bpf__attach(stores.get()); err != 0) return fail("attach", err);
  std::puts("attached");
  std::fflush(stdout);
  while (std::getchar() != EOF) {
  }
  return 0;
}
