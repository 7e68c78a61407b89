/* Texts, which are more than one store: written down first, so that whoever comes after a killed writer
 * finishes the change. */
#include <cstring>

#include "ctnbpf/tree.h"
#include "tree/lists.h"

namespace ctnbpf::tree {

void set_text(Writer& writer, ctn_pending what, std::uint32_t index, const std::string& text) {
  ctn_pending_text& pending = writer.core().pending;
  pending.index = index;
  std::memset(pending.text, 0, sizeof(pending.text));
  text.copy(pending.text, CTN_NAME_MAX);
  store(pending.what, static_cast<std::uint32_t>(what)); /* the commit */
  apply_pending(writer);
}

/* Every part may have been done before, by a writer that was killed. */
void apply_pending(Writer& writer) {
  ctn_core& core = writer.core();
  ctn_pending_text& pending = core.pending;
  if (pending.what == CTN_PENDING_RENAME) {
    if ((core.rename_seq & 1) == 0) store(core.rename_seq, core.rename_seq + 1);
    __atomic_thread_fence(__ATOMIC_RELEASE);
    lists::unindex(writer, pending.index);
    std::memcpy(writer.infos()[pending.index].name, pending.text, sizeof(pending.text));
    lists::index(writer, pending.index);
    store(core.rename_seq, core.rename_seq + 1);
  } else if (pending.what == CTN_PENDING_AGENT) {
    std::memcpy(core.hierarchies[pending.index % CTN_MAX_HIER].release_agent, pending.text,
                sizeof(pending.text));
  }
  store(pending.what, static_cast<std::uint32_t>(CTN_PENDING_NONE));
}

}  // namespace ctnbpf::tree
