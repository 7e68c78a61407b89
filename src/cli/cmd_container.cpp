/* create, rm, rename, get, set */
#include <fmt/format.h>

#include <cstdio>
#include <cstdlib>
#include <memory>

#include "attribute_print.h"
#include "context.h"
#include "ctnbpf/attributes.h"
#include "ctnbpf/containers.h"
#include "ctnbpf/ownership.h"
#include "ctnbpf/subsystem.h"
#include "ctnbpf/tree.h"

namespace ctnbpf::cli {
namespace {

Result<void> create_one(Writer& writer, const std::string& text, bool parents,
                        const std::vector<std::string>& settings, bool best_effort,
                        const std::optional<UserAndGroup>& owner) {
  CTN_ASSIGN(Address address, parse_address(text));
  std::vector<Slot> made;
  auto undo = [&](const Error& error) {
    for (auto slot = made.rbegin(); slot != made.rend(); ++slot) tree::unmake(writer, *slot);
    return error;
  };
  CTN_ASSIGN(Slot at, tree::find_hierarchy(writer, address.hierarchy));
  if (address.path.empty())
    return Error{EEXIST, fmt::format("{} is a root: it exists with its hierarchy",
                                     printable(address.to_string()))};
  for (std::size_t i = 0; i < address.path.size(); i++) {
    bool last = i + 1 == address.path.size();
    Slot child = tree::find_child(writer, at, address.path[i]);
    if (child != 0 && !last) {
      at = child;
      continue;
    }
    if (child == 0 && !last && !parents) {
      Address parent{address.hierarchy, {address.path.begin(), address.path.end() - 1}};
      return Error{ENOENT,
                   fmt::format("cannot create {}: {} does not exist; -p makes it",
                               printable(address.to_string()), printable(parent.to_string()))};
    }
    auto slot = tree::create(writer, at, address.path[i]);
    if (!slot) return undo(slot.error());
    made.push_back(*slot);
    at = *slot;
  }
  if (auto ok = set_attributes(writer, at, settings, best_effort); !ok) return undo(ok.error());
  if (owner) give_to(writer, at, *owner);
  return {};
}

std::vector<Error> remove_one(Writer& writer, const std::string& text, bool recursive, bool lazy) {
  auto slot = tree::find(writer, text);
  if (!slot) return {slot.error()};
  if (recursive && *slot >= CTN_MAX_HIER) return tree::remove_subtree(writer, *slot, lazy);
  if (auto gone = tree::remove(writer, *slot, lazy); !gone) return {gone.error()};
  return {};
}

Result<void> get(const Context& context, const std::string& address,
                 const std::vector<std::string>& names, bool bare, bool recursive) {
  CTN_ASSIGN(State state, State::open(context.pins()));
  CTN_ASSIGN(Slot top, tree::find(state, address));
  std::vector<Slot> slots = recursive ? tree::subtree(state, top) : std::vector<Slot>{top};
  AttributePrinter printer(context, bare, recursive);
  for (Slot slot : slots) {
    std::vector<AttributeRef> wanted;
    for (const std::string& name : names) {
      CTN_ASSIGN(AttributeRef found, find_attribute(state, slot, name));
      wanted.push_back(found);
    }
    if (names.empty()) wanted = attributes_of(state, slot);
    printer.begin(tree::address_of(state, slot));
    for (const AttributeRef& ref : wanted) {
      CTN_ASSIGN(Value value, ref.attribute->read(state, slot));
      printer.attribute(ref.full_name, value);
    }
  }
  printer.end();
  return {};
}

struct Options {
  std::vector<std::string> addresses;
  std::string file;
  std::string address;
  std::vector<std::string> settings;
  std::vector<std::string> names;
  std::string name;
  std::string owner;
  bool parents = false;
  bool recursive = false;
  bool lazy = false;
  bool bare = false;
  bool best_effort = false;
};

/* The lines of a file, empty ones left out; `-` is standard input. */
Result<std::vector<std::string>> read_lines(const std::string& name) {
  std::unique_ptr<FILE, int (*)(FILE*)> opened(
      name == "-" ? nullptr : std::fopen(name.c_str(), "re"),
      [](FILE* file) { return std::fclose(file); });
  FILE* file = name == "-" ? stdin : opened.get();
  Error failed = system_error(fmt::format("read addresses from '{}'", printable(name)));
  if (file == nullptr) return failed;
  std::vector<std::string> lines;
  char* line = nullptr;
  std::size_t size = 0;
  for (ssize_t length; (length = ::getline(&line, &size, file)) >= 0;) {
    if (length > 0 && line[length - 1] == '\n') length--;
    if (length > 0) lines.emplace_back(line, static_cast<std::size_t>(length));
  }
  failed = system_error(fmt::format("read addresses from '{}'", printable(name)));
  std::free(line);
  if (std::ferror(file)) return failed;
  return lines;
}

void add_addresses(CLI::App& app, Options& options, const char* help) {
  app.add_option("ADDR", options.addresses, help);
  app.add_option("-f,--file", options.file, "more of them from FILE, one a line; -: standard input")
      ->type_name("FILE");
}

/* Those on the command line and those in the file; one of the two has to be given. */
Result<void> gather_addresses(Options& options) {
  if (options.addresses.empty() && options.file.empty()) throw CLI::RequiredError("ADDR");
  if (options.file.empty()) return {};
  CTN_ASSIGN(std::vector<std::string> lines, read_lines(options.file));
  options.addresses.insert(options.addresses.end(), lines.begin(), lines.end());
  return {};
}

}  // namespace

void add_create(CLI::App& app, Context& context) {
  auto options = std::make_shared<Options>();
  add_addresses(app, *options, "containers to make");
  app.add_flag("-p,--parents", options->parents, "make missing parents too");
  app.add_option("-s,--set", options->settings, "set an attribute of each")
      ->type_name("ATTR=VALUE")
      ->allow_extra_args(false);
  app.add_option("--owner", options->owner,
                 "USER[:GROUP] who may make containers below, and attach")
      ->type_name("WHO");
  app.add_flag("--best-effort", options->best_effort, "also limits this kernel cannot enforce");
  app.callback([&context, options, &app] {
    auto ok = gather_addresses(*options);
    std::optional<UserAndGroup> owner;
    if (ok && app.count("--owner") != 0) {
      auto parsed = parse_owner(options->owner);
      if (parsed)
        owner = *parsed;
      else
        ok = parsed.error();
    }
    if (!ok) {
      context.exit_code = fail(context, ok.error());
      return;
    }
    std::vector<std::string> caveats;
    {
      auto writer = open_writer(context, BringUp::kDefault);
      if (!writer) {
        context.exit_code = fail(context, writer.error());
        return;
      }
      context.exit_code = for_each(context, options->addresses, [&](const std::string& one) {
        auto done = create_one(*writer, one, options->parents, options->settings,
                               options->best_effort, owner);
        if (!done) return Result<void>(with_cure(done.error()));
        auto its = new_caveats(*writer, options->settings); /* of limits that are really set */
        caveats.insert(caveats.end(), its.begin(), its.end());
        return done;
      });
    }
    for (const std::string& caveat : caveats) note(caveat);
  });
}

void add_rm(CLI::App& app, Context& context) {
  auto options = std::make_shared<Options>();
  add_addresses(app, *options, "containers to remove");
  app.add_flag("-r,--recursive", options->recursive, "with all containers below");
  app.add_flag("--lazy", options->lazy, "even in use: it lingers until its last task and file go");
  app.footer(
      "-r removes all that can go, leaves first, and names each container that is in use; that one\n"
      "and those above it stay.");
  app.callback([&context, options] {
    if (auto ok = gather_addresses(*options); !ok) {
      context.exit_code = fail(context, ok.error());
      return;
    }
    auto writer = open_writer(context, BringUp::kNo, Writer::Slots::kUsed);
    if (!writer) {
      context.exit_code = fail(context, writer.error());
      return;
    }
    Failures failures(context);
    for (const std::string& one : options->addresses)
      for (const Error& error : remove_one(*writer, one, options->recursive, options->lazy))
        failures.add(error);
    context.exit_code = failures.finish();
  });
}

void add_rename(CLI::App& app, Context& context) {
  auto options = std::make_shared<Options>();
  app.add_option("ADDR", options->address, "container to rename")->required();
  app.add_option("NAME", options->name, "its new name, in the same parent")->required();
  app.callback([&context, options] {
    auto done = [&]() -> Result<void> {
      CTN_ASSIGN(Writer writer, open_writer(context, BringUp::kNo, Writer::Slots::kUsed));
      CTN_ASSIGN(Slot slot, tree::find(writer, options->address));
      if (options->name.find('/') != std::string::npos)
        return Error{EXDEV,
                     fmt::format("'{}' names another parent: a container stays below its parent; "
                                 "give a name without '/'",
                                 printable(options->name))};
      return tree::rename(writer, slot, from_printable(options->name));
    }();
    if (!done) context.exit_code = fail(context, done.error());
  });
}

void add_get(CLI::App& app, Context& context) {
  auto options = std::make_shared<Options>();
  app.add_option("ADDR", options->address, "container")->required();
  app.add_option("ATTR", options->names, "attributes; none: all");
  app.add_flag("-n", options->bare, "print values only");
  app.add_flag("-r,--recursive", options->recursive, "with all containers below");
  app.callback([&context, options] {
    auto done = get(context, options->address, options->names, options->bare, options->recursive);
    if (!done) context.exit_code = fail(context, done.error());
  });
}

void add_set(CLI::App& app, Context& context) {
  auto options = std::make_shared<Options>();
  app.add_option("ADDR", options->address, "container")->required();
  app.add_option("setting", options->settings, "all of them, or none")
      ->required()
      ->type_name("ATTR=VALUE");
  app.add_flag("--best-effort", options->best_effort, "also limits this kernel cannot enforce");
  app.callback([&context, options] {
    std::vector<std::string> caveats;
    auto done = [&]() -> Result<void> {
      CTN_ASSIGN(Writer writer, open_writer(context, BringUp::kNo, Writer::Slots::kUsed));
      CTN_ASSIGN(Slot slot, tree::find(writer, options->address));
      CTN_TRY(set_attributes(writer, slot, options->settings, options->best_effort));
      caveats = new_caveats(writer, options->settings);
      return {};
    }();
    for (const std::string& caveat : caveats) note(caveat);
    if (!done) context.exit_code = fail(context, with_cure(done.error()));
  });
}

}  // namespace ctnbpf::cli
