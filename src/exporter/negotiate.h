/* Which format a client is answered in. */
#pragma once

#include <string_view>

#include "exposition.h"

namespace ctnbpf::exporter {

/* By its Accept header, which may be missing: OpenMetrics if it is named and at least as welcome as plain text,
 * else Prometheus' own format. */
metrics::Format negotiate(std::string_view accept);
const char* content_type(metrics::Format format);

}  // namespace ctnbpf::exporter
