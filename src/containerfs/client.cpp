#include "client.h"

#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <sstream>

#include "ctnbpf/address.h"
#include "ctnbpf/membership.h"
#include "ctnbpf/tree.h"
#include "ctnbpf/namespaces.h"

namespace ctnbpf::containerfs {
namespace {

/* Real, effective and saved. */
bool all_uids_are(pid_t thread, uid_t uid) {
  std::istringstream numbers(status_text(thread, "Uid:"));
  uid_t real = 0;
  uid_t effective = 0;
  uid_t saved = 0;
  return numbers >> real >> effective >> saved && real == uid && effective == uid && saved == uid;
}

/* The highest container from `slot` up whose directories, all the way, are this user's. */
Slot top_of_own(const State& state, Slot slot, uid_t uid) {
  for (int depth = 0; slot >= CTN_MAX_HIER && depth < CTN_MAX_DEPTH; depth++) {
    Slot above = state.nodes()[slot].parent;
    if (above < CTN_MAX_HIER || above >= state.nodes().size() ||
        directory_ownership(state, above).uid != uid)
      break;
    slot = above;
  }
  return slot;
}

/* Those of the owner, the group or others that count for this client, as of others. */
mode_t bits_for(const Ownership& file, const Client& client) {
  if (client.uid == file.uid) return file.mode >> 6 & 7U;
  bool member = client.gid == file.gid || std::find(client.groups.begin(), client.groups.end(),
                                                    file.gid) != client.groups.end();
  return (member ? file.mode >> 3 : file.mode) & 7U;
}

}  // namespace

bool may_write(const Ownership& file, const Client& client) {
  return client.uid == 0 || (bits_for(file, client) & S_IWOTH) != 0;
}

bool may_look_into(const Ownership& dir, const Client& client) {
  constexpr mode_t kBoth = S_IROTH | S_IXOTH;
  return client.uid == 0 || (bits_for(dir, client) & kBoth) == kBoth;
}

Result<void> may_attach(const State& state, Slot target, const Client& client,
                        const std::vector<ctn_walk_task>& threads,
                        const std::vector<ctn_walk_task>& process) {
  if (client.uid == 0) return {};
  std::string to = printable(tree::address_of(state, target));
  if (!may_write(tasks_ownership(state, target), client))
    return Error{EACCES, fmt::format("user {} may not attach to {}: `ctnbpf chown` gives a "
                                     "container to a user",
                                     client.uid, to)};
  const std::uint32_t hierarchy = state.nodes()[target].hierarchy;
  const Slot top = top_of_own(state, target, client.uid);
  for (const ctn_walk_task& thread : process)
    if (!all_uids_are(static_cast<pid_t>(thread.tid), client.uid))
      return Error{EPERM, fmt::format("thread {} does not run as user {} alone (real, effective "
                                      "and saved): only root may move its process",
                                      thread.tid, client.uid)};
  for (const ctn_walk_task& thread : threads) {
    Slot from = container_of(thread, hierarchy);
    if (from >= CTN_MAX_HIER && !tree::within(state, from, top))
      return Error{EPERM, fmt::format("thread {} is in {}, which is not in the tree of {}: user "
                                      "{} may take tasks from there, or from the root",
                                      thread.tid, printable(tree::address_of(state, from)),
                                      printable(tree::address_of(state, top)), client.uid)};
  }
  return {};
}

}  // namespace ctnbpf::containerfs
