/* Addresses and names: what is read can be printed and read again, and is safe for a terminal. */
#include <nlohmann/json.hpp>

#include "ctnbpf/address.h"
#include "fuzz.h"

using namespace ctnbpf;

CTN_FUZZ(text) {
  if (auto address = parse_address(text)) {
    if (check_hierarchy_name(address->hierarchy)) { /* any other is of no hierarchy there is */
      auto again = parse_address(printable(address->to_string()));
      CTN_MUST(again.has_value());
      CTN_MUST(again->hierarchy == address->hierarchy && again->path == address->path);
    }
    for (const std::string& name : address->path) CTN_MUST(check_container_name(name).has_value());
  }
  std::string shown = printable(text);
  CTN_MUST(!has_control(shown));
  CTN_MUST(from_printable(shown) == text);
  std::string written = portable(text);
  CTN_MUST(from_printable(written) == text);
  /* As JSON, which throws for what is no UTF-8. */
  nlohmann::json json = written;
  CTN_MUST(nlohmann::json::parse(json.dump()) == json);
  CTN_MUST(!has_control(harmless(shown)));
}
