/* man: manual pages from the table of commands, their options, and the tables of attributes. */
#include <fmt/format.h>

#include <filesystem>
#include <fstream>

#include "ctnbpf/address.h"
#include "manual.h"
#include "ctnbpf/nearest.h"

namespace ctnbpf::cli {
namespace {

namespace fs = std::filesystem;

Result<void> write_all(const std::string& dir) {
  for (const ManualPage& page : manual_pages()) {
    fs::path path = fs::path(dir) / fmt::format("man{}", page.section) /
                    fmt::format("{}.{}", page.name, page.section);
    std::error_code error;
    fs::create_directories(path.parent_path(), error);
    if (error)
      return system_error(error.value(), fmt::format("make the directory '{}'",
                                                     printable(path.parent_path().string())));
    std::ofstream file(path);
    file << page.text();
    file.close();
    if (!file) return system_error(fmt::format("write '{}'", printable(path.string())));
  }
  return {};
}

Result<void> print_one(const std::string& name) {
  std::vector<std::string> names;
  for (const ManualPage& page : manual_pages()) {
    names.push_back(page.name);
    if (page.name != name) continue;
    fmt::print("{}", page.text());
    return {};
  }
  return Error{ENOENT, fmt::format("no page '{}':{} `ctnbpf man` lists them", printable(name),
                                   did_you_mean(name, names))};
}

}  // namespace

void add_man(CLI::App& app, Context& context) {
  struct Options {
    std::string name;
    std::string dir;
  };
  auto options = std::make_shared<Options>();
  auto* page = app.add_option("PAGE", options->name, "print this page; none: list them");
  app.add_option("--into", options->dir, "write all of them below DIR: man8/ctnbpf.8 ...")
      ->type_name("DIR")
      ->excludes(page);
  app.callback([&context, options] {
    Result<void> done;
    if (!options->dir.empty())
      done = write_all(options->dir);
    else if (!options->name.empty())
      done = print_one(options->name);
    else
      for (const ManualPage& one : manual_pages()) fmt::print("{}\n", one.name);
    if (!done) context.exit_code = fail(context, done.error());
  });
}

}  // namespace ctnbpf::cli
