/* files */
#include <fmt/format.h>

#include <filesystem>
#include <set>

#include <nlohmann/json.hpp>

#include "context.h"
#include "ctnbpf/tree.h"
#include "numfiles/numfiles_ops.h"

namespace ctnbpf::cli {
namespace {

std::string target_of(const ctn_walk_file& file) {
  std::error_code error;
  std::string path =
      std::filesystem::read_symlink(fmt::format("/proc/{}/fd/{}", file.tgid, file.fd), error);
  return error ? "" : path;
}

Result<void> files(const Context& context, const std::string& address, bool recursive) {
  CTN_ASSIGN(State state, State::open(context.pins()));
  CTN_ASSIGN(Slot slot, tree::find(state, address));
  if (load(state.core().bound[CTN_NUMFILES]) != state.nodes()[slot].hierarchy + 1)
    return Error{ENOENT,
                 fmt::format("{}: numfiles is not bound to this hierarchy, so it charges no files",
                             printable(address))};
  CTN_ASSIGN(auto all, walk_files(context.pins()));
  nlohmann::ordered_json json = nlohmann::ordered_json::array();
  std::set<std::uint32_t> seen;
  for (const ctn_walk_file& file : all) {
    bool wanted = file.slot == slot || (recursive && file.slot < state.nodes().size() &&
                                        tree::within(state, file.slot, slot));
    if (!wanted || file.slot < CTN_MAX_HIER) continue;
    seen.insert(file.record);
    std::string path = target_of(file);
    std::string comm(file.comm, ::strnlen(file.comm, sizeof(file.comm)));
    if (!context.json)
      fmt::print("{} {} {}\n", file.tgid, file.fd, path.empty() ? "(closed)" : printable(path));
    json.push_back({{"pid", file.tgid},
                    {"fd", file.fd},
                    {"path", path},
                    {"comm", comm},
                    {"file", file.record},
                    {"container", tree::address_of(state, file.slot)}});
  }
  if (context.json) {
    print_json({{"descriptors", json}, {"files", seen.size()}});
    return {};
  }
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
      "One line a descriptor: pid, fd, path; also those of processes elsewhere. A charged file "
      "that\n"
      "no descriptor refers to (mapped, a running program, sent and not yet received) is not "
      "shown,\n"
      "and counts in numfiles.held.");
  app.callback([&context, options] {
    if (auto done = files(context, options->address, options->recursive); !done)
      context.exit_code = fail(context, done.error());
  });
}

}  // namespace ctnbpf::cli
