/* The one file that knows toml++. */
#define TOML_EXCEPTIONS 0
#define TOML_ENABLE_UNRELEASED_FEATURES 0
/* Some of what it asserts is not so for any text (`[[[`), and with NDEBUG it has the compiler take that for granted;
 * it deals with such text right where nothing is asserted. */
#undef NDEBUG
#define TOML_ASSERT(expression) static_assert(true)

#include <fmt/format.h>

#include <algorithm>
#include <sstream>
#include <toml++/toml.h>

#include "rules.h"
#include "toml.h"
#include "ctnbpf/nearest.h"

namespace ctnbpf::config {
namespace {

class Reader {
 public:
  explicit Reader(const std::string& file) : file_(file) {}

  Parsed read(const toml::table& top) {
    for (const auto& [key, node] : in_order(top)) {
      if (key->str() == "rules")
        read_rules(*node, where(*key));
      else if (const toml::table* table = node->as_table())
        read_table(*key, *table);
      else
        complain(where(*key),
                 fmt::format("unknown key '{}': outside of a table there is only [[rules]]; "
                             "attributes stand in a table such as [\"default:/\"]",
                             printable(key->str())));
    }
    return std::move(out_);
  }

 private:
  using Pair = std::pair<const toml::key*, const toml::node*>;

  /* toml++ keeps them sorted by name. */
  static std::vector<Pair> in_order(const toml::table& table) {
    std::vector<Pair> out;
    for (auto&& [key, node] : table) out.emplace_back(&key, &node);
    std::stable_sort(out.begin(), out.end(), [](const Pair& a, const Pair& b) {
      const toml::source_position& x = a.first->source().begin;
      const toml::source_position& y = b.first->source().begin;
      return std::pair(x.line, x.column) < std::pair(y.line, y.column);
    });
    return out;
  }

  Where where(const toml::source_region& region) const {
    return {file_, region.begin.line, region.begin.column};
  }
  Where where(const toml::key& key) const { return where(key.source()); }

  void complain(const Where& where, const std::string& what) {
    complain(where, Error{EINVAL, what});
  }
  void complain(const Where& where, const Error& error) { out_.errors.push_back(at(where, error)); }

  void wrong_type(const toml::key& key, const std::string& name, const toml::node& node,
                  const char* cure) {
    std::ostringstream type;
    type << node.type();
    complain(where(key),
             fmt::format("{} cannot be of type {}: {}", printable(name), type.str(), cure));
  }

  void read_table(const toml::key& key, const toml::table& table) {
    auto address = parse_address(key.str());
    if (!address) {
      complain(
          where(key),
          Error{EINVAL, fmt::format("unknown table '{}': a table is a container and has its "
                                    "address, as [\"default:/build\"] ([\"default:/\"] is the "
                                    "hierarchy); {}",
                                    printable(key.str().substr(0, 80)), address.error().what)});
      return;
    }
    Table out{std::move(*address), {}, {}, {}, where(key)};
    for (const auto& [inner, node] : in_order(table)) {
      if (inner->str() == "subsystems")
        read_subsystems(out, *inner, *node);
      else
        read_entry(out, *inner, std::string(inner->str()), *node);
    }
    out_.document.tables.push_back(std::move(out));
  }

  void read_subsystems(Table& out, const toml::key& key, const toml::node& node) {
    const toml::array* array = node.as_array();
    out.subsystems_where = where(key);
    if (array == nullptr) {
      wrong_type(key, "subsystems", node, "use a list, such as [\"numtasks\", \"cpuacct\"], or []");
      return;
    }
    if (!out.address.path.empty()) {
      complain(where(key),
               fmt::format("subsystems belong to the hierarchy: they stand in [\"{}:/\"]",
                           printable(out.address.hierarchy)));
      return;
    }
    out.subsystems = texts(key, "subsystems", *array);
  }

  std::vector<std::string> texts(const toml::key& key, const std::string& name,
                                 const toml::array& array) {
    std::vector<std::string> out;
    for (const toml::node& one : array) {
      if (const auto* text = one.as_string())
        out.push_back(text->get());
      else
        wrong_type(key, "an element of " + name, one, "use texts in quotes");
    }
    return out;
  }

  /* `numtasks.limit = 5` is a table `numtasks` with a key `limit`. */
  void read_entry(Table& out, const toml::key& key, const std::string& name,
                  const toml::node& node) {
    if (const toml::table* table = node.as_table()) {
      if (table->empty())
        complain(where(key), fmt::format("unknown key '{}': an attribute is SUBSYSTEM.NAME = VALUE",
                                         printable(name)));
      for (const auto& [inner, below] : in_order(*table))
        read_entry(out, *inner, name + "." + std::string(inner->str()), *below);
      return;
    }
    if (const auto* number = node.as_integer())
      out.entries.push_back({name, fmt::format("{}", number->get()), where(key)});
    else if (const auto* text = node.as_string())
      out.entries.push_back({name, text->get(), where(key)});
    else
      wrong_type(key, name, node, "use a number or a text in quotes");
  }

  void read_rules(const toml::node& node, const Where& from) {
    const toml::array* array = node.as_array();
    if (array == nullptr) {
      complain(from, "rules are an array of tables: begin each with [[rules]]");
      return;
    }
    for (const toml::node& one : *array) {
      if (const toml::table* table = one.as_table())
        read_rule(*table);
      else
        complain(where(one.source()), "a rule is a table: begin it with [[rules]]");
    }
  }

  void read_rule(const toml::table& table) {
    static const std::vector<std::string> kKeys = {"user", "program", "cgroup", "to", "ignore"};
    Rule rule{.where = where(table.source())};
    std::size_t errors = out_.errors.size();
    for (const auto& [key, node] : in_order(table)) {
      std::string name(key->str());
      std::string* text = name == "user"      ? &rule.user
                          : name == "program" ? &rule.program
                          : name == "cgroup"  ? &rule.cgroup
                                              : nullptr;
      if (text != nullptr) {
        if (const auto* value = node->as_string(); value != nullptr && !value->get().empty())
          *text = from_printable(value->get());
        else
          wrong_type(*key, name, *node, "use a text in quotes that is not empty");
      } else if (name == "to") {
        if (const toml::array* array = node->as_array())
          rule.to = texts(*key, name, *array);
        else
          wrong_type(*key, name, *node, "use a list of addresses, such as [\"default:/build\"]");
      } else if (name == "ignore") {
        if (const auto* value = node->as_boolean())
          rule.ignore = value->get();
        else
          wrong_type(*key, name, *node, "use true or false");
      } else {
        complain(where(*key), fmt::format("unknown key '{}' of a rule:{} there are user, program, "
                                          "cgroup, to and ignore",
                                          printable(name), did_you_mean(name, kKeys)));
      }
    }
    if (out_.errors.size() != errors) return;
    if (auto ok = normalise(rule); !ok)
      complain(rule.where, ok.error());
    else
      out_.document.rules.push_back(std::move(rule));
  }

  std::string file_;
  Parsed out_;
};

}  // namespace

Parsed parse_toml(std::string_view text, const std::string& file) {
  auto parsed = toml::parse(text);
  if (parsed) return Reader(file).read(parsed.table());
  const toml::parse_error& error = parsed.error();
  Where where{file, error.source().begin.line, error.source().begin.column};
  std::string said(error.description());
  constexpr std::string_view kPrefix = "Error while parsing ";
  if (said.starts_with(kPrefix)) said.erase(0, kPrefix.size());
  return {{}, {at(where, {EINVAL, fmt::format("this is not TOML: {}", printable(said))})}};
}

}  // namespace ctnbpf::config
