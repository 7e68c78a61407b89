/* Attribute values as JSON: numbers in base units, `max` as the string. */
#pragma once

#include <nlohmann/json.hpp>

#include "ctnbpf/address.h"
#include "ctnbpf/subsystem.h"

namespace ctnbpf::cli {

inline nlohmann::ordered_json to_json(std::uint64_t number) {
  if (number == CTN_UNLIMITED) return "max";
  return number;
}

inline nlohmann::ordered_json to_json(const Value& value) {
  if (const auto* number = std::get_if<std::uint64_t>(&value)) return to_json(*number);
  return portable(std::get<std::string>(value));
}

}  // namespace ctnbpf::cli
