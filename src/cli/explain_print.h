/* How `explain` prints what it found. */
#pragma once

#include "context.h"
#include "ctnbpf/explain.h"

namespace ctnbpf::cli {

void print_explanation(const Context& context, const Explanation& found);

}  // namespace ctnbpf::cli
