/* mount: its options. What serves is a program of its own, so that no other command loads a library for file
 * systems. */
#include "companion.h"

namespace ctnbpf::cli {
namespace {

struct Options {
  std::string dir;
  std::string hierarchy;
  std::vector<std::string> options;
  bool foreground = false;
};

Result<void> become_server(const Context& context, const Options& options) {
  std::vector<std::string> words;
  for (const std::string& one : options.options) words.push_back("--options=" + one);
  if (options.foreground) words.emplace_back("--foreground");
  words.insert(words.end(), {"--", options.dir});
  if (!options.hierarchy.empty()) words.push_back(options.hierarchy);
  return become_companion(context, "ctnbpf-fs", std::move(words));
}

}  // namespace

void add_mount(CLI::App& app, Context& context) {
  auto options = std::make_shared<Options>();
  app.add_option("DIR", options->dir, "where to mount")->required();
  app.add_option("HIER", options->hierarchy, "hierarchy whose root DIR is; none: DIR has them all");
  app.add_option("-o", options->options, "subsystems, noprefix, libcgroup, ro (see below)")
      ->type_name("WORD,...")
      ->allow_extra_args(false);
  app.add_flag("-f,--foreground", options->foreground, "serve until unmounted or terminated");
  app.footer(
      "A directory is a container: mkdir, rmdir and mv make, remove and rename; `tasks` and `procs`\n"
      "list its tasks and take the number of one to move in; attributes are files.\n"
      "  SUBSYS,...  the hierarchy with exactly these, which is made if they are free\n"
      "  noprefix    attributes without the name of their subsystem\n"
      "  libcgroup   over a named hierarchy of cgroup v1, by which cgroup-tools find it\n"
      "  ro          nothing can be changed through it\n"
      "Unmount with `umount DIR`. From fstab, by mount(8) and for cset: docs/containerfs.md.");
  app.callback([&context, options] {
    auto done = become_server(context, *options);
    if (!done) context.exit_code = fail(context, done.error());
  });
}

}  // namespace ctnbpf::cli
