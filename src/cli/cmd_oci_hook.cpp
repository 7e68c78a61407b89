/* oci-hook: a container of an OCI runtime in a container of ours. */
#include <fmt/format.h>
#include <unistd.h>

#include <array>

#include "context.h"
#include "ctnbpf/attach.h"
#include "ctnbpf/containers.h"
#include "ctnbpf/fsck.h"
#include "ctnbpf/membership.h"
#include "ctnbpf/tree.h"
#include "oci.h"
#include "ctnbpf/settings.h"
#include "options.h"

namespace ctnbpf::cli {
namespace {

constexpr const char* kDefaultParent = "oci"; /* below the root */

Result<std::string> read_input() {
  constexpr std::size_t kMost = 4U << 20;
  std::string text;
  std::array<char, 4096> chunk;
  for (;;) {
    ssize_t got = ::read(STDIN_FILENO, chunk.data(), chunk.size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return system_error("read standard input");
    if (got == 0) return text;
    text.append(chunk.data(), static_cast<std::size_t>(got));
    if (text.size() > kMost) return Error{E2BIG, "the state on standard input is above 4 MiB"};
  }
}

Result<std::vector<Slot>> parents_of(Writer& writer, const oci::Wish& wish, bool make) {
  return engines::parents_of(writer, wish.parents, wish.settings, kDefaultParent, make);
}

/* The container is the process's: whoever looks when that is gone may take it away, should no hook do it. */
Result<void> try_begin(Writer& writer, const oci::State& state, const oci::Wish& wish,
                       std::vector<Slot>& made) {
  CTN_ASSIGN(auto parents, parents_of(writer, wish, true));
  CTN_ASSIGN(ctn_walk_task task, live_task(writer.pins(), state.pid));
  for (Slot parent : parents) {
    CTN_ASSIGN(Slot slot, tree::create(writer, parent, state.id,
                                       tree::Owner{task.global_tgid, task.start_ns}));
    made.push_back(slot);
  }
  CTN_TRY(apply_settings(writer, made, wish.settings, wish.best_effort, "ctnbpf.container"));
  for (Slot slot : made) CTN_TRY(attach(writer, slot, state.pid, false));
  return {};
}

Result<void> begin(const Context& context, const oci::State& state, const oci::Wish& wish) {
  CTN_ASSIGN(Writer writer, open_writer(context, BringUp::kEnsure));
  sweep_transient(writer);
  std::vector<Slot> made;
  auto done = try_begin(writer, state, wish, made);
  if (!done) remove_made(writer, made);
  return done;
}

/* What still holds it, such as files that others keep open, lets it linger. */
Result<void> end(const Context& context, const oci::State& state, const oci::Wish& wish) {
  auto writer = open_writer(context);
  if (!writer && writer.error().code == ENOENT) return {}; /* `down` meanwhile */
  if (!writer) return writer.error();
  auto parents = parents_of(*writer, wish, false);
  if (!parents) return {}; /* it was removed with them */
  for (Slot parent : *parents)
    if (Slot slot = tree::find_child(*writer, parent, state.id); slot != 0)
      CTN_TRY(tree::remove(*writer, slot, true));
  return {};
}

int hook(const Context& context) {
  auto text = read_input();
  if (!text) return fail(context, text.error());
  auto state = oci::parse_state(*text);
  if (!state) return fail(context, state.error());
  auto wish = oci::wish_of(state->annotations);
  if (!wish) return fail(context, wish.error().within(state->id));
  if (wish->empty()) return kDone;
  auto done = state->stopped ? end(context, *state, *wish) : begin(context, *state, *wish);
  if (done) return kDone;
  Error error = with_cure(done.error()).within(fmt::format("container {}", printable(state->id)));
  if (!wish->best_effort) return fail(context, error);
  report(context, error);
  return kDone;
}

}  // namespace

void add_oci_hook(CLI::App& app, Context& context) {
  app.footer(
      "A hook of runc, crun, podman and CRI-O for createRuntime and poststop, which reads the\n"
      "container's state on standard input: ctnbpf.json in /usr/share/containers/oci/hooks.d.\n"
      "Annotations of the container:\n"
      "  ctnbpf.numtasks=N, .numfiles=N, .forkrate=N/SEC, .cpus=LIST, .mems=LIST    as of `run`\n"
      "  ctnbpf.set.ATTR=VALUE     any attribute\n"
      "  ctnbpf.container=ADDR...  it is made below these, which have to be there (HIER:/oci)\n"
      "  ctnbpf.best-effort=true   start it also where this fails or a limit cannot hold\n"
      "Without any of them nothing is done. The container has the id as its name.");
  app.callback([&context] { context.exit_code = hook(context); });
}

}  // namespace ctnbpf::cli
