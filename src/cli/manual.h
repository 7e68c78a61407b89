/* Manual pages in roff. */
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "command_line.h"

namespace ctnbpf::cli {

struct ManualPage {
  std::string name; /* "ctnbpf-run" */
  int section;
  std::function<std::string()> text;
};

/* ctnbpf(8), a page for each command that help lists, ctnbpf-attributes(7). */
std::vector<ManualPage> manual_pages();

/* `text` as roff takes it literally. */
std::string roff(std::string_view text);
/* A piece of help: flowed, lines that are set in stay as they are, `words` in bold. */
std::string roff_paragraphs(std::string_view text);

}  // namespace ctnbpf::cli
