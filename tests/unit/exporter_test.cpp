/* What a collector is answered in. */
#include <gtest/gtest.h>

#include "exporter/negotiate.h"

namespace ctnbpf::exporter {
namespace {

using metrics::Format;

TEST(Exporter, TheFormatIsTheOneThatIsMoreWelcome) {
  /* As Prometheus 2.42 and 3 ask, and others. */
  EXPECT_EQ(negotiate("application/openmetrics-text;version=1.0.0,application/openmetrics-text;"
                      "version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1"),
            Format::kOpenMetrics);
  EXPECT_EQ(negotiate("application/openmetrics-text; version=1.0.0; charset=utf-8"),
            Format::kOpenMetrics);
  EXPECT_EQ(negotiate("text/plain;version=0.0.4;q=0.5,application/openmetrics-text;q=0.4"),
            Format::kPrometheus);
  EXPECT_EQ(negotiate("application/openmetrics-text;version=2.0.0,text/plain;q=0.1"),
            Format::kPrometheus);
  EXPECT_EQ(negotiate("application/openmetrics-text;q=0"), Format::kPrometheus);
  EXPECT_EQ(negotiate("application/vnd.google.protobuf;proto=x,*/*;q=0.2"), Format::kPrometheus);
  for (const char* odd : {"", ",", ";;,;", "text/html", "application/openmetrics-text;q=x",
                          " , application/openmetrics-text;q=", "*/*"})
    EXPECT_EQ(negotiate(odd), Format::kPrometheus) << odd;
}

}  // namespace
}  // namespace ctnbpf::exporter
