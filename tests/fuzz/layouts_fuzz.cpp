/* Layouts: what is read and fits together is written so that it is read as the same. */
#include "fuzz.h"
#include "resolve.h"
#include "toml.h"

using namespace ctnbpf;

CTN_FUZZ(text) {
  config::Parsed parsed = config::parse_toml(text, "in");
  if (!parsed.errors.empty()) return;
  config::Resolved first = config::resolve({parsed.document}, {});
  if (!first.errors.empty()) return;
  std::string written = config::to_toml(first.layout);
  config::Parsed again = config::parse_toml(written, "out");
  CTN_MUST(again.errors.empty());
  config::Resolved second = config::resolve({again.document}, {});
  CTN_MUST(second.errors.empty());
  CTN_MUST(config::to_toml(second.layout) == written);
}
