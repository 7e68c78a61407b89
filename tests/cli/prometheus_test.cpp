/* What share/ has for Prometheus and Grafana, against a real Prometheus. */
#include "cli_test.h"

namespace ctnbpf::test {
namespace {

class PrometheusFleet : public CliTest {};

TEST_F(PrometheusFleet, EveryExpressionHasAnAnswer) {
  /* Not in an emulated machine, where Prometheus takes minutes: tests/metrics/fleet.py by hand there. */
  if (std::getenv("CTNBPF_REQUIRE_KERNEL") != nullptr) return;
  if (::access("/usr/bin/prometheus", X_OK) != 0) CTN_SKIP("no Prometheus is installed");
  out({"down", "--force"});
  Piped fleet({CTNBPF_SOURCE_DIR "/tests/metrics/fleet.py", CTNBPF_SOURCE_DIR "/share", ctnbpf_path()});
  std::string last, line;
  while (!(line = fleet.line()).empty()) last = line;
  EXPECT_EQ(fleet.wait(), 0) << last;
  EXPECT_TRUE(last.starts_with("ok: ")) << last;
  std::printf("%s\n", last.c_str());
}

}  // namespace
}  // namespace ctnbpf::test
