/* cgconfig.conf, as libcgroup's parse.y takes it: mount, group, template, default, namespace and systemd, in any
 * order. Groups of the same name are merged, the last of two values counts, `.` is the root. */
#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "cgconfig_lexer.h"
#include "ctnbpf/attributes.h"
#include "import.h"
#include "schema.h"
#include "ctnbpf/address.h"

namespace ctnbpf::config {
namespace {

struct Pair {
  std::string name;
  std::string value;
  std::uint32_t line;
};
struct Controller {
  std::string name;
  std::vector<Pair> settings;
  std::uint32_t line;
};
struct Group {
  std::string name;
  std::vector<Controller> controllers;
  std::uint32_t line;
};

class Importer {
 public:
  explicit Importer(const std::string& file) : file_(file) {}

  Imported import(std::string_view text) {
    std::uint32_t line = 0;
    auto tokens = cgconfig_tokens(text, line);
    if (!tokens) {
      out_.complain(file_, line, tokens.error().what);
      return std::move(out_);
    }
    tokens_ = std::move(*tokens);
    while (out_.errors.empty() && next().kind != Token::Kind::kEnd) read_block();
    if (out_.errors.empty()) build();
    if (!out_.errors.empty()) out_.layout = {};
    return std::move(out_);
  }

 private:
  const Token& next() const { return tokens_[at_]; }
  bool is_sign(char c) const { return next().kind == Token::Kind::kSign && next().text[0] == c; }
  bool is_name() const {
    return next().kind == Token::Kind::kWord || next().kind == Token::Kind::kQuoted;
  }
  void drop(std::uint32_t line, const std::string& what) { out_.drop(file_, line, what); }

  /* The first that fails is told; those after it follow from it. */
  bool expected(const std::string& what) {
    if (!out_.errors.empty()) return false;
    out_.complain(file_, next().line,
                  next().kind == Token::Kind::kEnd
                      ? fmt::format("the file ends where {} should be", what)
                      : fmt::format("'{}' is where {} should be", printable(next().text), what));
    return false;
  }
  bool sign(char c) {
    if (!is_sign(c)) return expected(fmt::format("`{}`", c));
    at_++;
    return true;
  }
  bool name(std::string& out, const std::string& what) {
    if (!is_name()) return expected(what);
    out = tokens_[at_++].text;
    return true;
  }

  void read_block() {
    std::uint32_t line = next().line;
    std::string word;
    if (next().kind != Token::Kind::kWord) {
      expected("mount, group, template, default, namespace or systemd");
      return;
    }
    word = tokens_[at_++].text;
    if (word == "mount") {
      read_pairs(mounts_);
    } else if (word == "group" || word == "template") {
      read_group(word == "template");
    } else if (word == "namespace" || word == "systemd") {
      std::vector<Pair> pairs;
      if (read_pairs(pairs)) drop(line, word + ": it has no counterpart");
    } else if (word == "default") {
      if (read_perms_in_braces()) drop(line, "default: owners and modes are not part of a layout");
    } else {
      at_--;
      expected("mount, group, template, default, namespace or systemd");
    }
  }

  /* { NAME = VALUE; ... } */
  bool read_pairs(std::vector<Pair>& out) {
    if (!sign('{')) return false;
    while (!is_sign('}')) {
      Pair pair{{}, {}, next().line};
      if (!name(pair.name, "a name or `}`") || !sign('=') || !name(pair.value, "a value") ||
          !sign(';'))
        return false;
      out.push_back(std::move(pair));
    }
    return sign('}');
  }

  /* perm { task { uid = ...; } admin { ... } } */
  bool read_perm() {
    if (!sign('{')) return false;
    while (!is_sign('}')) {
      std::string whose;
      std::vector<Pair> pairs;
      if (next().text != "task" && next().text != "admin") return expected("task, admin or `}`");
      if (!name(whose, "task or admin") || !read_pairs(pairs)) return false;
    }
    return sign('}');
  }
  bool read_perms_in_braces() {
    if (!sign('{')) return false;
    while (!is_sign('}')) {
      if (next().text != "perm") return expected("perm or `}`");
      at_++;
      if (!read_perm()) return false;
    }
    return sign('}');
  }

  void read_group(bool is_template) {
    Group group{{}, {}, next().line};
    if (!name(group.name, "the group's name") || !sign('{')) return;
    std::vector<std::uint32_t> perms;
    while (!is_sign('}')) {
      Controller controller{{}, {}, next().line};
      if (!name(controller.name, "a controller, perm or `}`")) return;
      if (controller.name == "perm") {
        if (!read_perm()) return;
        perms.push_back(controller.line);
        continue;
      }
      if (!read_pairs(controller.settings)) return;
      group.controllers.push_back(std::move(controller));
    }
    if (!sign('}')) return;
    if (is_template) {
      drop(group.line, fmt::format("template '{}': what a rule makes has no settings of its own",
                                   printable(group.name)));
      return;
    }
    for (std::uint32_t line : perms)
      drop(line, fmt::format("perm of group '{}': owners and modes are not part of a layout",
                             printable(group.name)));
    groups_.push_back(std::move(group));
  }

  /* --- from what was read to a layout --- */

  void build() {
    read_mounts();
    for (const Group& group : groups_)
      for (const Controller& controller : group.controllers) add(group, controller);
  }

  void read_mounts() {
    std::map<std::string, std::size_t> by_place;
    for (const Pair& mount : mounts_) {
      std::vector<std::string> ours = subsystems_for(mount.name);
      if (ours.empty()) {
        drop(mount.line, fmt::format("controller '{}' has no counterpart", printable(mount.name)));
        continue;
      }
      auto [place, fresh] = by_place.emplace(mount.value, out_.layout.hierarchies.size());
      if (fresh) add_hierarchy(ours);
      Hierarchy& hierarchy = out_.layout.hierarchies[place->second];
      for (const std::string& one : ours)
        if (std::count(hierarchy.subsystems->begin(), hierarchy.subsystems->end(), one) == 0)
          hierarchy.subsystems->push_back(one);
    }
  }

  Hierarchy& add_hierarchy(const std::vector<std::string>& its) {
    Hierarchy hierarchy{its[0], its, {}, {}};
    hierarchy.containers.emplace(Path(), Container{});
    out_.layout.hierarchies.push_back(std::move(hierarchy));
    return out_.layout.hierarchies.back();
  }

  /* Where a controller's groups are: where it is mounted, alone if it is not, or in the default one if nothing
   * is. */
  Hierarchy& hierarchy_of(const std::vector<std::string>& ours) {
    if (mounts_.empty()) {
      if (Hierarchy* there = out_.layout.find(kDefault)) return *there;
      out_.layout.hierarchies.push_back({kDefault, std::nullopt, {}, {}});
      return out_.layout.hierarchies.back();
    }
    for (Hierarchy& one : out_.layout.hierarchies)
      if (std::count(one.subsystems->begin(), one.subsystems->end(), ours[0]) != 0) return one;
    return add_hierarchy(ours);
  }

  void add(const Group& group, const Controller& controller) {
    std::vector<std::string> ours = subsystems_for(controller.name);
    if (ours.empty()) {
      drop(controller.line, fmt::format("controller '{}' of group '{}' has no counterpart",
                                        printable(controller.name), printable(group.name)));
      for (const Pair& one : controller.settings) drop_setting(one, "");
      return;
    }
    Path path;
    auto address = parse_address("x:/" + (group.name == "." ? "" : printable(group.name)));
    if (!address) {
      out_.complain(file_, group.line, address.error().what);
      return;
    }
    path = std::move(address->path);
    Hierarchy& hierarchy = hierarchy_of(ours);
    Container& container = container_at(hierarchy, path, {file_, group.line, 1});
    std::string shown = address_of(hierarchy.name, path);
    for (const Pair& one : controller.settings) set(container, path.empty(), shown, one);
  }

  void set(Container& container, bool root, const std::string& address, const Pair& one) {
    const AttributeRef* attribute = find_settable(attribute_for(one.name));
    if (attribute == nullptr) {
      drop_setting(one, "");
      return;
    }
    if (auto ok = check_on(*attribute, root, address); !ok) {
      drop_setting(one, ": " + ok.error().what);
      return;
    }
    auto normal = normal_form(*attribute, one.value);
    if (!normal) {
      out_.complain(file_, one.line, normal.error().what);
      return;
    }
    for (auto& [name, value] : *normal)
      container.settings[name] = {std::move(value), {file_, one.line, 1}};
  }

  void drop_setting(const Pair& one, const std::string& why) {
    drop(one.line, fmt::format("{} = {}{}", printable(one.name), printable(one.value), why));
  }

  std::string file_;
  std::vector<Token> tokens_;
  std::size_t at_ = 0;
  std::vector<Pair> mounts_;
  std::vector<Group> groups_;
  Imported out_;
};

}  // namespace

Imported import_cgconfig(std::string_view text, const std::string& file) {
  return Importer(file).import(text);
}

}  // namespace ctnbpf::config
