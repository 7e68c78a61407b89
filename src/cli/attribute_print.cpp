#include "attribute_print.h"

#include <fmt/format.h>

#include "value_json.h"

namespace ctnbpf::cli {

void AttributePrinter::begin(const std::string& address) {
  if (recursive_ && !context_.json) fmt::print("{}\n", printable(address));
  json_.push_back({{"container", portable(address)}});
}

void AttributePrinter::attribute(const std::string& name, const Value& value) {
  if (context_.json)
    json_.back()[name] = to_json(value);
  else if (bare_)
    fmt::print("{}\n", printable(to_string(value)));
  else
    fmt::print("{}{}: {}\n", recursive_ ? "  " : "", name, printable(to_string(value)));
}

void AttributePrinter::end() const {
  if (context_.json) print_json(recursive_ ? json_ : json_[0]);
}

}  // namespace ctnbpf::cli
