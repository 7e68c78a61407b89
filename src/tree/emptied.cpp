#include "tree/emptied.h"

#include <array>

#include "kernel/run_program.h"

namespace ctnbpf {

Result<void> tell_if_emptied(Writer& writer, Slot slot) {
  const ctn_node& node = writer.nodes()[slot];
  /* Whoever takes out the last task meanwhile sees what was taken away here, or that is seen below. */
  __atomic_thread_fence(__ATOMIC_SEQ_CST);
  if (slot < CTN_MAX_HIER || load(node.armed) == 0) return {};
  /* What node_emptied() would find: nothing to tell, which is most of the times. */
  bool told = (node.flags & (CTN_NOTIFY_ON_RELEASE | CTN_TRANSIENT)) != 0;
  if (node.state == CTN_ACTIVE && (node.children != 0 || !told)) return {};
  CTN_ASSIGN(UniqueFd program, writer.pins().open_prog("s_emptied"));
  std::array arguments{std::uint64_t{slot}};
  auto done = run_program(program, arguments, kAnyCpu);
  return done ? Result<void>() : done.error().within("tell that a container is empty");
}

}  // namespace ctnbpf
