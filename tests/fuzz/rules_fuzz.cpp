/* Rules as text: the normal form of a rule is its own. */
#include "fuzz.h"
#include "rules.h"
#include "toml.h"

using namespace ctnbpf;

CTN_FUZZ(text) {
  config::Parsed parsed = config::parse_toml(text, "in");
  for (config::Rule& rule : parsed.document.rules) {
    if (!config::normalise(rule)) continue;
    config::Layout layout;
    layout.rules = {rule};
    std::string once = config::to_toml(layout);
    if (config::normalise(rule)) {
      layout.rules = {rule};
      CTN_MUST(config::to_toml(layout) == once);
    } else {
      CTN_MUST(!"a normal form that is refused");
    }
  }
}
