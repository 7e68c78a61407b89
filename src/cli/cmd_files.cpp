/* files */
#include <fmt/format.h>

#include <array>
#include <filesystem>
#include <map>
#include <set>

#include <nlohmann/json.hpp>

#include "context.h"
#include "ctnbpf/membership.h"
#include "ctnbpf/tree.h"
#include "ctnbpf/namespaces.h"
#include "ctnbpf/files.h"

namespace ctnbpf::cli {
namespace {

/* By thread, as a thread can have descriptors of its own. */
std::string target_of(const FileHolder& file) {
  std::error_code error;
  std::string path = std::filesystem::read_symlink(
      fmt::format("{}/{}/fd/{}", proc_root(), file.tid, file.fd), error);
  return error ? "" : path;
}

/* The containers of the hierarchy `h` that tasks are in; who is not there is in the root. */
Result<std::map<std::uint32_t, Slot>> places(const Context& context, std::uint32_t h) {
  CTN_ASSIGN(auto tasks, walk_tasks(context.pins()));
  std::map<std::uint32_t, Slot> found;
  for (const ctn_walk_task& task : tasks)
    if (Slot slot = task.slot[h] & ~CTN_EXITED; slot != 0) found[task.tid] = slot;
  return found;
}

Result<void> files(const Context& context, const std::string& address, bool recursive) {
  CTN_ASSIGN(State state, State::open(context.pins()));
  CTN_ASSIGN(Slot slot, tree::find(state, address));
  const std::uint32_t h = state.nodes()[slot].hierarchy;
  if (!charges_files(state, h))
    return Error{ENOENT,
                 fmt::format("{}: numfiles is not bound to this hierarchy, so it charges no files",
                             printable(tree::address_of(state, slot)))};
  auto wanted = [&](Slot at) {
    if (at < CTN_MAX_HIER || at >= state.nodes().size()) return false;
    return at == slot || (recursive && tree::within(state, at, slot));
  };
  CTN_TRY(refuse_unseen(state, slot, recursive));
  CTN_ASSIGN(auto all, file_holders(context.pins()));
  CTN_ASSIGN(auto places_of, places(context, h));
  CTN_ASSIGN(auto charged, charged_to(state));
  nlohmann::ordered_json json = nlohmann::ordered_json::array();
  std::set<std::uint32_t> seen;
  /* The kernel shows the descriptors of a process by its first thread, or by each if that has exited. */
  std::set<std::array<std::uint32_t, 3>> shown;
  for (const FileHolder& file : all) {
    if (!wanted(file.slot) || !shown.insert({file.tgid, file.fd, file.record}).second) continue;
    seen.insert(file.record);
    std::string path = target_of(file);
    auto place = places_of.find(file.tid);
    Slot holder = place == places_of.end() ? h : place->second;
    if (!context.json)
      fmt::print("{} {} {}{}\n", file.tgid, file.fd, path.empty() ? "(closed)" : printable(path),
                 holder == file.slot
                     ? ""
                     : fmt::format(" (held in {})", printable(tree::address_of(state, holder))));
    json.push_back({{"pid", file.tgid},
                    {"fd", file.fd},
                    {"path", portable(path)},
                    {"comm", portable(file.comm)},
                    {"file", file.record},
                    {"container", portable(tree::address_of(state, file.slot))},
                    {"holder", portable(tree::address_of(state, holder))}});
  }
  /* Files come and go between the two looks. */
  auto charges = static_cast<std::size_t>(
      std::count_if(charged.begin(), charged.end(), [&](Slot at) { return wanted(at); }));
  std::size_t unseen = charges - std::min(charges, seen.size());
  if (context.json)
    print_json({{"descriptors", json}, {"files", seen.size()}, {"without_descriptor", unseen}});
  else if (unseen != 0)
    fmt::print("- - {} file{} without a descriptor{}\n", unseen, unseen == 1 ? "" : "s",
               in_initial_pid_namespace() ? "" : " in this pid namespace");
  return {};
}

}  // namespace

void add_files(CLI::App& app, Context& context) {
  struct Options {
    std::string address;
    bool recursive = false;
  };
  auto options = std::make_shared<Options>();
  app.add_option("ADDR", options->address, "container")->required();
  app.add_flag("-r,--recursive", options->recursive, "with all containers below");
  app.footer(
      "One line a descriptor: pid, fd, path. A descriptor whose process is in another container\n"
      "than the one that is charged says where: it was passed on, or its process was moved.\n"
      "The last line counts charged files that no descriptor refers to: running programs and\n"
      "what they have mapped, shared memory, descriptors sent and not yet received.");
  app.callback([&context, options] {
    if (auto done = files(context, options->address, options->recursive); !done)
      context.exit_code = fail(context, done.error());
  });
}

}  // namespace ctnbpf::cli
