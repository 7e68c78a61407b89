#include "slurm.h"

#include <fmt/format.h>

#include <charconv>
#include <limits>
#include <map>
#include <set>

#include "ctnbpf/attributes.h"
#include "ctnbpf/address.h"
#include "ctnbpf/nearest.h"
#include "options.h"

namespace ctnbpf::slurm {
namespace {

constexpr std::string_view kMax = "max-";
constexpr std::string_view kJob = "job-";

/* `max`, N, or N/SECONDS. */
struct Limit {
  std::uint64_t number = std::numeric_limits<std::uint64_t>::max();
  std::uint64_t seconds = 1;

  bool unlimited() const { return number == std::numeric_limits<std::uint64_t>::max(); }
  /* Does whoever keeps it keep `other` too? */
  bool within(const Limit& other) const {
    if (other.unlimited()) return true;
    if (unlimited()) return false;
    std::uint64_t spans = (other.seconds + seconds - 1) / seconds;
    return number == 0 || spans <= other.number / number;
  }
};

Result<Limit> parse_limit(const std::string& word, const std::string& value) {
  Limit limit;
  if (value == "max") return limit;
  auto number = [](std::string_view text, std::uint64_t& out) {
    auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out);
    return error == std::errc() && end == text.data() + text.size() && out <= 0xffffffff;
  };
  std::size_t slash = value.find('/');
  bool good = number(std::string_view(value).substr(0, slash), limit.number);
  if (slash != std::string::npos)
    good = good && number(std::string_view(value).substr(slash + 1), limit.seconds) &&
           limit.seconds > 0;
  if (good) return limit;
  return Error{EINVAL, fmt::format("'{}': '{}' is neither `max`, a number, nor N/SECONDS",
                                   printable(word), printable(value))};
}

/* What plugstack.conf has for one name, and for it in the job's partition. */
using Values = std::map<std::string, std::string>;

struct Word {
  std::string name;
  std::string partition;
  std::string value;
};

Word split(const std::string& word) {
  std::size_t equals = word.find('=');
  Word out{word.substr(0, equals), "", equals == std::string::npos ? "" : word.substr(equals + 1)};
  if (std::size_t at = out.name.find('@'); at != std::string::npos) {
    out.partition = out.name.substr(at + 1);
    out.name.resize(at);
  }
  return out;
}

std::vector<std::string> known_names(const Values& options) {
  std::vector<std::string> names{"container", "best-effort", "stat", "ctnbpf"};
  for (const auto& [option, attribute] : options)
    for (std::string_view prefix : {std::string_view(), kMax, kJob})
      names.push_back(std::string(prefix) + option);
  return names;
}

Result<void> read_conf(const std::vector<std::string>& conf, const std::string& partition,
                       const Values& options, Wish& wish, Values& values) {
  std::set<std::string> seen; /* with its partition */
  Values special;
  for (const std::string& text : conf) {
    Word word = split(text);
    if (text == "stat") {
      wish.stat = true;
      continue;
    }
    if (text == "best-effort") {
      wish.best_effort = true;
      continue;
    }
    if (text.starts_with("container=")) {
      CTN_TRY(parse_address(word.value));
      wish.parents.push_back(word.value);
      continue;
    }
    std::string option = word.name;
    for (std::string_view prefix : {kMax, kJob})
      if (option.starts_with(prefix)) option.erase(0, prefix.size());
    std::string key = text.substr(0, text.find('='));
    if (!options.contains(option) || key.size() == text.size() || key.ends_with('@'))
      return Error{EINVAL,
                   fmt::format("plugstack.conf: '{}' is unknown:{} `ctnbpf slurm-hook --help` "
                               "lists the words",
                               printable(text), did_you_mean(word.name, known_names(options)))};
    if (!seen.insert(key).second)
      return Error{EINVAL, fmt::format("plugstack.conf: '{}' is there twice", printable(key))};
    if (word.partition.empty())
      values.emplace(word.name, word.value);
    else if (word.partition == partition)
      special[word.name] = word.value;
  }
  for (const auto& [name, value] : special) values[name] = value;
  return {};
}

/* What the user may ask for, if that is bounded: a default without a bound is one. */
const std::string* ceiling_of(const Values& values, const std::string& option) {
  for (const std::string& name : {std::string(kMax) + option, option})
    if (auto found = values.find(name); found != values.end()) return &found->second;
  return nullptr;
}

/* The value for a step; empty: none. */
Result<std::string> step_value(const Values& values, const Values& asked,
                               const std::string& option) {
  const std::string* ceiling = ceiling_of(values, option);
  auto own = asked.find(option);
  if (own == asked.end()) {
    auto standard = values.find(option);
    return standard != values.end() ? standard->second : ceiling != nullptr ? *ceiling : "";
  }
  std::string name = "--ctn-" + option;
  CTN_ASSIGN(Limit wanted, parse_limit(name, own->second));
  if (ceiling == nullptr) return own->second;
  CTN_ASSIGN(Limit most, parse_limit("plugstack.conf: " + option, *ceiling));
  if (wanted.within(most)) return own->second;
  return Error{EPERM, fmt::format("{}={}: the most that can be asked for here is {}", name,
                                  printable(own->second), printable(*ceiling))};
}

}  // namespace

Result<Wish> wish_of(const std::vector<std::string>& conf, const std::vector<std::string>& asked,
                     const std::string& partition) {
  const Values options = engines::attributes_by_option();
  Wish wish;
  Values values;
  CTN_TRY(read_conf(conf, partition, options, wish, values));
  Values own;
  for (const std::string& text : asked) {
    Word word = split(text);
    if (!options.contains(word.name) || !word.partition.empty())
      return Error{EINVAL, fmt::format("--ask '{}' is no option of `run`", printable(text))};
    own[word.name] = word.value;
  }
  for (const auto& [option, attribute] : options) {
    CTN_ASSIGN(std::string value, step_value(values, own, option));
    if (!value.empty()) wish.step.push_back(attribute + "=" + value);
    if (auto job = values.find(std::string(kJob) + option); job != values.end())
      wish.job.push_back(attribute + "=" + job->second);
  }
  return wish;
}

}  // namespace ctnbpf::slurm
