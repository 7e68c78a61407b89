/* cgrules.conf, as libcgroup's cgroup_parse_rules_file() and cgroup_change_cgroup_flags() take it:
 * - `#` ends a line anywhere, also inside quotes.
 * - KEY CONTROLLERS DEST [OPTIONS], parted by blanks and tabs. KEY and DEST may be quoted, all of KEY as
 *   libcgroup 2 wants it or its process alone as libcgroup 3 does.
 * - KEY is a user, @group, * or %, and after the first colon a process.
 * - A `%` line is applied along with the line above it, whoever the process is: its own process says nothing.
 * - A line about an unknown user or group is skipped, and the `%` lines after it too.
 * - In DEST a backslash takes the next character as it is, and a % that begins no template stands for itself.
 * - The first line that fits wins: so one that names no controller we have keeps its processes from
 *   those after it. */
#include <fmt/format.h>

#include <algorithm>
#include <optional>

#include "import.h"
#include "rules.h"
#include "ctnbpf/address.h"

namespace ctnbpf::config {
namespace {

constexpr std::string_view kBlanks = " \t\r";

class Importer {
 public:
  Importer(const std::string& file, const Accounts& accounts) : file_(file), accounts_(accounts) {}

  Imported import(std::string_view text) {
    while (!text.empty()) {
      std::size_t end = std::min(text.find('\n'), text.size());
      line_++;
      read_line(text.substr(0, end));
      text.remove_prefix(std::min(end + 1, text.size()));
    }
    finish_rule();
    if (!out_.errors.empty()) out_.layout = {};
    return std::move(out_);
  }

 private:
  void drop(const std::string& what) { out_.drop(file_, line_, what); }
  void complain(const std::string& what) { out_.complain(file_, line_, what); }

  /* The next word of the line, without its quotes. None: a quote is not closed. */
  static std::optional<std::string> word(std::string_view& rest) {
    rest.remove_prefix(std::min(rest.find_first_not_of(kBlanks), rest.size()));
    std::string out;
    bool quoted = false;
    std::size_t i = 0;
    for (; i < rest.size() && (quoted || kBlanks.find(rest[i]) == std::string_view::npos); i++) {
      if (rest[i] == '"')
        quoted = !quoted;
      else
        out += rest[i];
    }
    rest.remove_prefix(i);
    if (quoted) return std::nullopt;
    return out;
  }

  void read_line(std::string_view line) {
    line = line.substr(0, line.find('#'));
    if (line.find_first_not_of(kBlanks) == std::string_view::npos) return;
    auto key = word(line);
    auto controllers = word(line);
    auto dest = word(line);
    if (!key || !controllers || !dest) {
      complain("a quote is not closed: a `#` ends the line even inside quotes");
      return;
    }
    if (dest->empty()) {
      complain("a rule is `USER[:PROCESS] CONTROLLERS DESTINATION [OPTIONS]`");
      return;
    }
    if (*key == "%" || key->starts_with("%:"))
      continue_rule(*key, *controllers, *dest);
    else
      begin_rule(*key, *controllers, *dest);
    for (auto option = word(line); option && !option->empty(); option = word(line))
      read_options(*option);
  }

  void begin_rule(const std::string& key, const std::string& controllers, const std::string& dest) {
    finish_rule();
    std::size_t colon = key.find(':');
    Rule rule{.user = key.substr(0, colon), .where = {file_, line_, 1}};
    if (colon != std::string::npos) rule.program = key.substr(colon + 1);
    began_ = true;
    std::string why = unusable(rule);
    if (!why.empty()) {
      drop(why);
      return;
    }
    rule_ = std::move(rule);
    add_places(controllers, dest);
  }

  /* Why the line is skipped; empty: it is not. */
  std::string unusable(const Rule& rule) const {
    const std::string& user = rule.user;
    if (user.starts_with("@") && !accounts_.has_group(user.substr(1)))
      return fmt::format("group '{}' is unknown here, and libcgroup skips such a line",
                         printable(user.substr(1)));
    if (!user.starts_with("@") && user != "*" && !accounts_.has_user(user))
      return fmt::format("user '{}' is unknown here, and libcgroup skips such a line",
                         printable(user));
    if (rule.program.ends_with('*'))
      return fmt::format("process '{}': a rule has a path or a name, no pattern",
                         printable(rule.program));
    if (!rule.program.starts_with("/") && rule.program.find('/') != std::string::npos)
      return fmt::format("process '{}' fits nothing: libcgroup compares the whole path or the name",
                         printable(rule.program));
    return "";
  }

  void continue_rule(const std::string& key, const std::string& controllers,
                     const std::string& dest) {
    if (!began_) {
      complain("`%` stands for the user of the line above, and there is none");
      return;
    }
    if (!rule_) {
      drop("it goes on with a line that was dropped");
      return;
    }
    if (key.size() > 2)
      drop(fmt::format("process '{}': a `%` line is for whoever the line above it is for",
                       printable(key.substr(2))));
    add_places(controllers, dest);
  }

  void read_options(const std::string& text) {
    for (std::size_t begin = 0; begin <= text.size();) {
      std::size_t end = std::min(text.find(',', begin), text.size());
      std::string option = text.substr(begin, end - begin);
      begin = end + 1;
      if (!rule_ || option.empty()) continue;
      if (option == "ignore")
        rule_->ignore = true;
      else
        drop(fmt::format("option '{}'", printable(option)));
    }
  }

  void add_places(const std::string& controllers, const std::string& dest) {
    auto path = path_of(dest);
    if (!path) {
      complain(fmt::format("destination '{}': a path without '..'", printable(dest)));
      return;
    }
    for (std::size_t begin = 0; begin <= controllers.size();) {
      std::size_t end = std::min(controllers.find(',', begin), controllers.size());
      std::string controller = controllers.substr(begin, end - begin);
      begin = end + 1;
      std::vector<std::string> ours = subsystems_for(controller);
      if (controller == "*") ours = {"*"};
      if (ours.empty())
        drop(fmt::format("controller '{}' has no counterpart", printable(controller)));
      for (const std::string& one : ours) add_place(one, *path);
    }
  }

  /* Of two lines for one controller the later one moves last. */
  void add_place(const std::string& hierarchy, const Path& path) {
    std::erase_if(rule_->to,
                  [&](const std::string& one) { return one.starts_with(hierarchy + ":/"); });
    rule_->to.push_back(address_of(hierarchy, path));
  }

  static std::optional<Path> path_of(const std::string& dest) {
    constexpr std::string_view kTemplates = "uUgGpP";
    std::string text;
    for (std::size_t i = 0; i < dest.size(); i++) {
      bool last = i + 1 == dest.size();
      char c = dest[i];
      bool escaped = c == '\\' && !last;
      if (escaped) c = dest[++i];
      text += c;
      if (c != '%') continue;
      bool known = !escaped && !last && kTemplates.find(dest[i + 1]) != std::string_view::npos;
      text += known ? dest[++i] : '%';
    }
    Path path;
    for (std::size_t begin = 0; begin < text.size();) {
      std::size_t end = std::min(text.find('/', begin), text.size());
      std::string name = text.substr(begin, end - begin);
      begin = end + 1;
      if (name == "..") return std::nullopt;
      if (!name.empty() && name != ".") path.push_back(name);
    }
    return path;
  }

  void finish_rule() {
    if (!rule_) return;
    Rule rule = std::move(*rule_);
    rule_.reset();
    if (rule.to.empty()) rule.ignore = true; /* it still keeps others away */
    if (rule.ignore) rule.to.clear();
    if (auto ok = normalise(rule); !ok)
      out_.complain(file_, rule.where.line, ok.error().what);
    else
      out_.layout.rules.push_back(std::move(rule));
  }

  std::string file_;
  const Accounts& accounts_;
  std::uint32_t line_ = 0;
  bool began_ = false;       /* has there been a line that `%` can go on with? */
  std::optional<Rule> rule_; /* the one that is being read; none: it was dropped */
  Imported out_;
};

}  // namespace

Imported import_cgrules(std::string_view text, const std::string& file, const Accounts& accounts) {
  return Importer(file, accounts).import(text);
}

}  // namespace ctnbpf::config
