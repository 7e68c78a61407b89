/* CTID.conf, as vzctl reads it: NAME="BARRIER:LIMIT", one number for both, K M G T of 1024 and P of pages,
 * `unlimited` or the largest long for none. Other lines of the shell's are none of ours. */
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <limits>
#include <optional>

#include "import.h"
#include "schema.h"
#include "ctnbpf/address.h"

namespace ctnbpf::config {
namespace {

constexpr std::uint64_t kPage = 4096;
constexpr std::uint64_t kMostTasks = 4'194'304; /* no machine has more: a higher limit is none */

std::optional<std::uint64_t> factor(std::string_view suffix) {
  if (suffix.empty()) return 1;
  constexpr std::array<std::pair<std::string_view, std::uint64_t>, 5> kFactors = {
      {{"Kk", 1ULL << 10},
       {"Mm", 1ULL << 20},
       {"Gg", 1ULL << 30},
       {"Tt", 1ULL << 40},
       {"Pp", kPage}}};
  for (const auto& [letters, value] : kFactors)
    if (suffix.size() == 1 && letters.find(suffix[0]) != std::string_view::npos) return value;
  return std::nullopt;
}

/* Saturates: what does not fit is no limit. None: it is no amount. */
std::optional<std::uint64_t> amount(std::string_view text) {
  constexpr std::uint64_t kNone = std::numeric_limits<std::int64_t>::max();
  if (text == "unlimited") return kNone;
  std::uint64_t number = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error == std::errc::invalid_argument) return std::nullopt;
  auto times = factor(text.substr(static_cast<std::size_t>(end - text.data())));
  if (!times) return std::nullopt;
  if (error == std::errc::result_out_of_range || number > kNone / *times) return kNone;
  return number * *times;
}

std::string limit_text(std::uint64_t number, std::uint64_t highest) {
  return number >= highest ? "max" : std::to_string(number);
}

class Importer {
 public:
  explicit Importer(const std::string& file) : file_(file) {}

  Imported import(std::string_view text) {
    std::string name = file_.substr(file_.rfind('/') + 1);
    if (name.ends_with(".conf")) name.erase(name.size() - 5);
    if (auto ok = check_container_name(name); !ok || name == "-") {
      out_.errors.push_back({EINVAL, fmt::format("'{}' is not named like an OpenVZ container: give "
                                                 "CTID.conf, such as 101.conf",
                                                 printable(file_))});
      return std::move(out_);
    }
    Hierarchy hierarchy{kDefault, std::nullopt, {}, {}};
    container_ = &container_at(hierarchy, {name}, {file_, 0, 0});
    while (!text.empty()) {
      std::size_t end = std::min(text.find('\n'), text.size());
      line_++;
      read_line(text.substr(0, end));
      text.remove_prefix(std::min(end + 1, text.size()));
    }
    if (out_.errors.empty()) out_.layout.hierarchies.push_back(std::move(hierarchy));
    return std::move(out_);
  }

 private:
  static std::string_view trimmed(std::string_view text) {
    constexpr std::string_view kBlanks = " \t\r";
    text.remove_prefix(std::min(text.find_first_not_of(kBlanks), text.size()));
    return text.substr(0, text.find_last_not_of(kBlanks) + 1);
  }

  void read_line(std::string_view line) {
    line = trimmed(line);
    if (line.empty() || line[0] == '#') return;
    std::size_t equals = line.find('=');
    if (equals == std::string_view::npos) {
      out_.complain(
          file_, line_,
          fmt::format("'{}' is not of the form NAME=\"VALUE\"", printable(line.substr(0, 80))));
      return;
    }
    std::string name(trimmed(line.substr(0, equals)));
    std::string_view value = trimmed(line.substr(equals + 1));
    if (!value.empty() && (value[0] == '"' || value[0] == '\'')) {
      std::size_t end = value.find(value[0], 1);
      if (end == std::string_view::npos) {
        out_.complain(file_, line_, fmt::format("the quote of {} is not closed", printable(name)));
        return;
      }
      value = value.substr(1, end - 1);
    }
    read_setting(name, std::string(value));
  }

  void read_setting(const std::string& name, const std::string& value) {
    if (name == "NUMPROC")
      read_tasks(value);
    else if (name == "NUMFILE")
      read_files(value);
    else if (name == "CPUMASK" || name == "NODEMASK")
      read_mask(name, value);
    else
      out_.drop(file_, line_, fmt::format("{}=\"{}\"", printable(name), printable(value)));
  }

  struct Beans {
    std::uint64_t barrier;
    std::uint64_t limit;
  };
  std::optional<Beans> beans(const std::string& name, const std::string& value) {
    std::size_t colon = value.find(':');
    auto barrier = amount(value.substr(0, colon));
    auto limit = colon == std::string::npos ? barrier : amount(value.substr(colon + 1));
    if (barrier && limit && *barrier <= *limit) return Beans{*barrier, *limit};
    out_.complain(file_, line_,
                  fmt::format("{} cannot be '{}': use BARRIER:LIMIT, the barrier not above the "
                              "limit, with K, M, G, T or P, or unlimited",
                              name, printable(value)));
    return std::nullopt;
  }

  void set(const char* attribute, const std::string& value) {
    container_->settings[attribute] = {value, {file_, line_, 1}};
  }

  /* Tasks have one bound; OpenVZ wants both to be the same. */
  void read_tasks(const std::string& value) {
    auto its = beans("NUMPROC", value);
    if (!its) return;
    if (its->barrier != its->limit)
      out_.drop(
          file_, line_,
          fmt::format("the barrier of NUMPROC=\"{}\": the limit is what binds", printable(value)));
    set("numtasks.limit", limit_text(its->limit, kMostTasks + 1));
  }

  void read_files(const std::string& value) {
    auto its = beans("NUMFILE", value);
    if (!its) return;
    constexpr std::uint64_t kNone = std::numeric_limits<std::int64_t>::max();
    set("numfiles.barrier", limit_text(its->barrier, kNone));
    set("numfiles.limit", limit_text(its->limit, kNone));
  }

  void read_mask(const std::string& name, const std::string& value) {
    const char* attribute = name == "CPUMASK" ? "cpuset.cpus" : "memset.mems";
    if (value == "all" || value == "auto") { /* as it is without */
      out_.drop(file_, line_, fmt::format("{}=\"{}\": that is so without it", name, value));
      return;
    }
    auto normal = normal_form(*find_settable(attribute), value);
    if (normal)
      set(attribute, normal->front().second);
    else
      out_.complain(file_, line_, normal.error().within(name).what);
  }

  std::string file_;
  std::uint32_t line_ = 0;
  Container* container_ = nullptr;
  Imported out_;
};

}  // namespace

Imported import_vz(std::string_view text, const std::string& file) {
  return Importer(file).import(text);
}

}  // namespace ctnbpf::config
