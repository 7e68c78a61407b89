/* A reader of metrics as text, as strict as the formats: https://openmetrics.io and Prometheus' 0.0.4. */
#pragma once

#include <gtest/gtest.h>

#include <map>
#include <regex>
#include <set>
#include <string>

namespace ctnbpf::test {

/* By name with labels, as they stand there: `ctnbpf_tasks{hierarchy="default",path="/a"}`. */
using Metrics = std::map<std::string, std::string>;

/* Every rule that `text` breaks is a failure. */
inline Metrics read_metrics(std::string text, bool open) {
  const std::regex metadata("# (TYPE|UNIT|HELP) ([a-z_]+) (.+)");
  const std::string label = "[a-z]+=\"(?:[^\"\\\\\n]|\\\\[\"\\\\n])*\"";
  const std::regex sample("([a-z_]+)(\\{" + label + "(?:," + label +
                          ")*\\})? ([0-9]+(?:\\.[0-9]+)?|\\+Inf)");
  const std::set<std::string> types = {"gauge", "counter", "histogram", "info"};
  Metrics values;
  if (open) {
    EXPECT_TRUE(text.ends_with("\n# EOF\n")) << text;
    text.resize(text.size() - 6);
  }
  std::set<std::string> families;
  std::string family, type;
  for (std::size_t at = 0, end = 0; at < text.size(); at = end + 1) {
    end = text.find('\n', at);
    if (end == std::string::npos) {
      ADD_FAILURE() << "no end of the last line: " << text.substr(at);
      break;
    }
    std::string line = text.substr(at, end - at);
    std::smatch part;
    if (std::regex_match(line, part, metadata)) {
      if (part[2] != family) {
        family = part[2];
        EXPECT_TRUE(families.insert(family).second) << family << " is in two places";
        type.clear();
      }
      if (part[1] == "TYPE") {
        type = part[3];
        EXPECT_TRUE(types.contains(type) && (open || type != "info")) << line;
        EXPECT_EQ(family.ends_with("_total"), !open && type == "counter") << line;
      }
      if (part[1] == "UNIT") {
        EXPECT_TRUE(open && family.ends_with("_" + part[3].str())) << line;
      }
      continue;
    }
    if (!std::regex_match(line, part, sample)) {
      ADD_FAILURE() << "no sample: " << line;
      continue;
    }
    std::string name = part[1];
    if (type == "counter" && open) {
      EXPECT_EQ(name, family + "_total") << line;
    } else if (type == "info") {
      EXPECT_EQ(name, family + "_info") << line;
    } else if (type == "histogram") {
      EXPECT_TRUE(name == family + "_bucket" || name == family + "_count" ||
                  name == family + "_sum")
          << line;
    } else {
      EXPECT_EQ(name, family) << line;
    }
    EXPECT_TRUE(values.emplace(name + part[2].str(), part[3]).second) << line << " comes twice";
  }
  return values;
}

}  // namespace ctnbpf::test
