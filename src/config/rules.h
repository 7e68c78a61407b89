/* Rules as text: who, running what, in which control group, belongs in which containers. */
#pragma once

#include "layout.h"

namespace ctnbpf::config {

/* Checks a rule and brings it in its normal form. EINVAL says which key, the rule and the cure. */
Result<void> normalise(Rule& rule);

}  // namespace ctnbpf::config
