/* chown */
#include "context.h"
#include "ctnbpf/ownership.h"
#include "ctnbpf/tree.h"

namespace ctnbpf::cli {

void add_chown(CLI::App& app, Context& context) {
  struct Options {
    std::string owner;
    std::vector<std::string> addresses;
    bool recursive = false;
  };
  auto options = std::make_shared<Options>();
  app.add_option("USER[:GROUP]", options->owner, "names or numbers; the group: that of the user")
      ->required();
  app.add_option("ADDR", options->addresses, "containers")->required();
  app.add_flag("-r,--recursive", options->recursive, "with all containers below");
  app.footer(
      "Through a mounted containerfs (`ctnbpf mount`) the owner may make, rename and remove\n"
      "containers below, set their attributes, and attach its own tasks. The attributes of the\n"
      "container itself stay with the owner of the one above.");
  app.callback([&context, options] {
    auto who = parse_owner(options->owner);
    auto writer = who ? open_writer(context, BringUp::kNo, Writer::Slots::kUsed)
                      : Result<Writer>(who.error());
    if (!writer) {
      context.exit_code = fail(context, writer.error());
      return;
    }
    context.exit_code =
        for_each(context, options->addresses, [&](const std::string& one) -> Result<void> {
          CTN_ASSIGN(Slot top, tree::find(*writer, one));
          for (Slot slot : options->recursive ? tree::subtree(*writer, top) : std::vector{top})
            give_to(*writer, slot, *who);
          return {};
        });
  });
}

}  // namespace ctnbpf::cli
