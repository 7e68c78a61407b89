/* Other programs' files: anything is read, and what comes of it is a layout. The first byte says which format. */
#include "fuzz.h"
#include "import.h"
#include "resolve.h"
#include "toml.h"

using namespace ctnbpf;

CTN_FUZZ(text) {
  fuzz::Input input(text);
  std::uint32_t format = input.below(3);
  std::string_view rest = text.substr(text.empty() ? 0 : 1);
  config::Accounts everybody{[](const std::string&) { return true; },
                             [](const std::string&) { return true; }};
  config::Imported imported = format == 0   ? config::import_cgconfig(rest, "in")
                              : format == 1 ? config::import_cgrules(rest, "in", everybody)
                                            : config::import_vz(rest, "101.conf");
  if (!imported.errors.empty()) return;
  config::Parsed again = config::parse_toml(config::to_toml(imported.layout), "out");
  CTN_MUST(again.errors.empty());
}
