#include "manual.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <ctime>

#include "ctnbpf/attributes.h"
#include "ctnbpf/levels.h"
#include "ctnbpf/subsystem.h"
#include "help.h"

namespace ctnbpf::cli {
namespace {

/* Of the package's last change where it is built for a package, so that building again makes the same. */
std::string date() {
  const char* given = std::getenv("SOURCE_DATE_EPOCH");
  std::time_t when = given != nullptr ? std::strtoll(given, nullptr, 10) : std::time(nullptr);
  std::tm parts = {};
  ::gmtime_r(&when, &parts);
  return fmt::format("{:04}-{:02}-{:02}", parts.tm_year + 1900, parts.tm_mon + 1, parts.tm_mday);
}

std::string upper(std::string text) {
  for (char& c : text)
    if (c >= 'a' && c <= 'z') c = static_cast<char>(c - 'a' + 'A');
  return text;
}

std::string head(const std::string& name, int section, const std::string& what) {
  return fmt::format(".TH {} {} {} \"ctnbpf {}\" \"ctnbpf manual\"\n.SH NAME\n{} \\- {}\n",
                     roff(upper(name)), section, date(), version(), roff(name), roff(what));
}

std::string bold(std::string_view text) { return "\\fB" + roff(text) + "\\fR"; }

/* As help prints it after "usage: ". */
std::string usage(const CLI::App& app, const std::string& name) {
  const auto* formatter = dynamic_cast<const CLI::Formatter*>(app.get_formatter().get());
  std::string line = formatter->make_usage(&app, name);
  if (std::size_t colon = line.find(": "); colon != std::string::npos) line.erase(0, colon + 2);
  while (!line.empty() && (line.back() == '\n' || line.back() == ' ')) line.pop_back();
  return bold(name) + roff(line.substr(name.size())) + "\n";
}

std::string options(const CLI::App& app) {
  const HelpFormatter formatter;
  std::string out;
  for (const CLI::Option* option : shown_options(app)) {
    if (option->check_name("--help") && app.get_parent() != nullptr) continue;
    std::string names;
    for (const std::string& name : option->get_snames())
      names += (names.empty() ? "" : ", ") + bold("-" + name);
    for (const std::string& name : option->get_lnames())
      names += (names.empty() ? "" : ", ") + bold("--" + name);
    std::string value = formatter.make_option_opts(option);
    if (!value.empty()) names += " \\fI" + roff(value.substr(1)) + "\\fR";
    out += ".TP\n" + names + "\n" + roff_paragraphs(option->get_description());
  }
  return out;
}

std::string its_arguments(const CLI::App& app) {
  std::string out;
  for (const CLI::Option* one : arguments(app))
    out += ".TP\n\\fI" + roff(kind_of(*one)) + "\\fR\n" + roff_paragraphs(one->get_description());
  return out;
}

/* What help ends with; CLI11 gives a command that has nothing of its own what is said of all. */
std::string notes(const CLI::App& app) {
  const CLI::App* above = app.get_parent();
  return above != nullptr && app.get_footer() == above->get_footer() ? "" : app.get_footer();
}

std::string body(const CLI::App& app) {
  std::string out;
  if (std::string text = its_arguments(app); !text.empty()) out += ".SH ARGUMENTS\n" + text;
  if (std::string text = options(app); !text.empty()) out += ".SH OPTIONS\n" + text;
  return out;
}

std::string sentence(std::string text) {
  if (!text.empty()) text[0] = upper(text.substr(0, 1))[0];
  return text + ".";
}

std::string command_page(const Command& command) {
  Context context;
  CLI::App app("");
  describe(app, context);
  const CLI::App& sub = *add_command(app, command, context, true);
  std::string name = std::string("ctnbpf ") + command.name;
  std::string out = head(std::string("ctnbpf-") + command.name, 8, command.help);
  out += ".SH SYNOPSIS\n";
  std::vector<const CLI::App*> below = shown_subcommands(sub);
  if (below.empty()) out += usage(sub, name);
  for (const CLI::App* one : below)
    out += (one == below[0] ? "" : ".br\n") + usage(*one, name + " " + one->get_name());
  out += ".SH DESCRIPTION\n" + roff_paragraphs(sentence(command.help));
  if (!notes(sub).empty()) out += ".PP\n" + roff_paragraphs(notes(sub));
  out += body(sub);
  for (const CLI::App* one : below) {
    out += fmt::format(".SH \"{} {}\"\n", upper(command.name), upper(one->get_name()));
    out += roff_paragraphs(sentence(one->get_description()));
    out += its_arguments(*one) + options(*one);
    if (!notes(*one).empty()) out += ".PP\n" + roff_paragraphs(notes(*one));
  }
  return out + ".SH \"SEE ALSO\"\n" + bold("ctnbpf") + "(8), whose options every command takes, " +
         bold("ctnbpf-attributes") + "(7)\n";
}

std::string main_page() {
  Context context;
  CLI::App app("");
  describe(app, context);
  std::string out = head("ctnbpf", 8, "generic process containers, enforced by BPF");
  out += ".SH SYNOPSIS\n" + bold("ctnbpf") + roff(" [OPTION...] COMMAND [ARG...]") + "\n";
  out += ".SH DESCRIPTION\n" +
         roff_paragraphs(
             "Containers are named groups of tasks in up to eight independent hierarchies, with "
             "limits on tasks and open files that the kernel enforces through BPF. What is set "
             "holds when no ctnbpf process runs.") +
         ".PP\n" + roff_paragraphs(app.get_footer());
  out += body(app) + ".SH COMMANDS\n";
  for (const Command& command : commands()) {
    if (command.hidden) continue;
    out += fmt::format(".TP\n{}(8)\n", bold(std::string("ctnbpf-") + command.name)) +
           roff_paragraphs(sentence(command.help));
  }
  return out + ".SH FILES\n.TP\n\\fI" + roff(kDefaultPinRoot) +
         "\\fR\nWhat is loaded into the kernel, if ctnbpf is up.\n.SH \"SEE ALSO\"\n" +
         bold("ctnbpf-attributes") + "(7), " + bold("bpf") + "(2), " + bold("cgroups") + "(7)\n";
}

std::string attribute(const AttributeRef& ref) {
  const Attribute& one = *ref.attribute;
  std::string out = fmt::format(".TP\n{} ({})\n", bold(ref.full_name),
                                one.prepare != nullptr ? "can be set" : "read only");
  std::string text = one.help;
  std::string more;
  if (one.run_option != nullptr)
    more += fmt::format(" Option `{}` of `ctnbpf run`.", one.run_option);
  if (one.hierarchy_option != nullptr)
    more += fmt::format(" Option `{}` of `ctnbpf hierarchy create`.", one.hierarchy_option);
  if (one.needs != CTN_LEVEL_NONE)
    more += fmt::format(" Needs level {} (`ctnbpf doctor`), or `--best-effort`.",
                        level_name(one.needs));
  return out + roff_paragraphs(text + (more.empty() ? "" : ".") + more);
}

std::string attributes_page() {
  std::string out = head("ctnbpf-attributes", 7, "attributes of containers");
  out += ".SH DESCRIPTION\n" +
         roff_paragraphs(
             "`ctnbpf get` reads attributes, `ctnbpf set` and `-s` of `ctnbpf create` and `ctnbpf "
             "run` set those that can be set. A container has those of the subsystems that are "
             "bound to its hierarchy, and those that every container has. A limit that is not "
             "set is `max`.");
  out += ".SH \"EVERY CONTAINER\"\n";
  for (const AttributeRef& one : core_attributes()) out += attribute(one);
  for (const Subsystem* subsystem : subsystems()) {
    out += fmt::format(".SH {}\n", roff(upper(subsystem->name))) +
           roff_paragraphs(sentence(subsystem->help));
    for (const Attribute& one : subsystem->attributes)
      out += attribute({subsystem, &one, fmt::format("{}.{}", subsystem->name, one.name)});
  }
  return out + ".SH \"SEE ALSO\"\n" + bold("ctnbpf-get") + "(8), " + bold("ctnbpf-set") + "(8), " +
         bold("ctnbpf") + "(8)\n";
}

}  // namespace

std::string roff(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); i++) {
    char c = text[i];
    bool first = i == 0 || text[i - 1] == '\n';
    if (first && (c == '.' || c == '\'')) out += "\\&";
    switch (c) {
      case '\\': out += "\\e"; break;
      case '-': out += "\\-"; break;
      case '\'': out += "\\(aq"; break;
      case '`': out += "\\(ga"; break;
      case '~': out += "\\(ti"; break;
      case '^': out += "\\(ha"; break;
      default: out += c;
    }
  }
  return out;
}

std::string roff_paragraphs(std::string_view text) {
  std::string out;
  bool as_is = false;
  for (std::size_t at = 0, end = 0; at < text.size(); at = end + 1) {
    end = std::min(text.find('\n', at), text.size());
    std::string_view line = text.substr(at, end - at);
    bool set_in = line.starts_with("  ");
    if (set_in != as_is) out += set_in ? ".PP\n.in +4n\n.nf\n" : ".fi\n.in\n.PP\n";
    as_is = set_in;
    if (set_in) {
      out += roff(line.substr(2)) + "\n";
      continue;
    }
    bool in_bold = false; /* what is between two backquotes */
    std::size_t quotes = static_cast<std::size_t>(std::count(line.begin(), line.end(), '`'));
    for (std::size_t from = 0; from <= line.size();) {
      std::size_t quote =
          quotes % 2 == 0 ? std::min(line.find('`', from), line.size()) : line.size();
      out += roff(line.substr(from, quote - from));
      from = quote + 1;
      if (quote == line.size()) break;
      in_bold = !in_bold;
      out += in_bold ? "\\fB" : "\\fR";
    }
    out += "\n";
  }
  if (as_is) out += ".fi\n.in\n";
  return out;
}

std::vector<ManualPage> manual_pages() {
  std::vector<ManualPage> out = {{"ctnbpf", 8, main_page}};
  for (const Command& command : commands())
    if (!command.hidden)
      out.push_back(
          {std::string("ctnbpf-") + command.name, 8, [&command] { return command_page(command); }});
  out.push_back({"ctnbpf-attributes", 7, attributes_page});
  return out;
}

}  // namespace ctnbpf::cli
