/* Manual pages: made from the tables, whole, and as those who format them want them. */
#include <cstdlib>
#include <filesystem>
#include <set>
#include <sstream>

#include "cli_test.h"
#include "ctnbpf/attributes.h"

namespace ctnbpf::test {
namespace {

class Manual : public ::testing::Test {
 protected:
  static std::vector<std::string> lines(const std::string& text) {
    std::vector<std::string> out;
    std::istringstream stream(text);
    for (std::string line; std::getline(stream, line);) out.push_back(line);
    return out;
  }
  static bool have(const std::string& tool) {
    return shell("command -v " + tool + " >/dev/null").code == 0;
  }
  /* Without formatting, hyphens as they are typed. */
  static std::string text_of(const std::string& page) {
    std::string text = ctnbpf({"man", page}).out;
    for (const char* gone : {"\\fB", "\\fI", "\\fR", "\\&", "\\"})
      for (std::size_t at; (at = text.find(gone)) != std::string::npos;)
        text.erase(at, std::string(gone).size());
    return text;
  }
};

TEST_F(Manual, EveryCommandThatHelpListsHasAPage) {
  std::set<std::string> listed{"ctnbpf", "ctnbpf-attributes"};
  bool below = false;
  for (const std::string& line : lines(ctnbpf({"--help"}).out)) {
    if (below && line.starts_with("  ") && line[2] != ' ')
      listed.insert("ctnbpf-" + line.substr(2, line.find(' ', 2) - 2));
    below |= line.starts_with("Commands:") || line.starts_with("Subcommands:");
  }
  EXPECT_GE(listed.size(), 25u);
  std::set<std::string> pages;
  for (const std::string& page : lines(ctnbpf({"man"}).out)) pages.insert(page);
  EXPECT_EQ(pages, listed);
}

TEST_F(Manual, PagesTellOfEveryOptionAndAttribute) {
  for (const std::string& page : lines(ctnbpf({"man"}).out)) {
    if (!page.starts_with("ctnbpf-") || page == "ctnbpf-attributes") continue;
    std::string text = text_of(page);
    for (const std::string& line : lines(ctnbpf({page.substr(7), "--help"}).out)) {
      std::size_t at = line.find("--");
      if (!line.starts_with("  -") || at == std::string::npos) continue;
      std::string option = line.substr(at, line.find_first_of(" ,", at) - at);
      if (option != "--help") {
        EXPECT_NE(text.find(option), std::string::npos) << page << " " << option;
      }
    }
  }
  std::string attributes = text_of("ctnbpf-attributes");
  for (const Subsystem* subsystem : subsystems())
    for (const Attribute& one : subsystem->attributes) {
      std::string name = std::string(subsystem->name) + "." + one.name;
      EXPECT_NE(attributes.find(name + (one.prepare != nullptr ? " (can be set)" : " (read only)")),
                std::string::npos)
          << name;
    }
  for (const AttributeRef& one : core_attributes())
    EXPECT_NE(attributes.find(one.full_name), std::string::npos);
}

/* All pages at once: starting the tools is most of what it takes. */
TEST_F(Manual, FormattersHaveNothingToSay) {
  std::string dir = ::testing::TempDir() + "ctnbpf-man." + std::to_string(::getpid());
  Output written = ctnbpf({"man", "--into", dir});
  EXPECT_EQ(written.code, 0) << written.err;
  EXPECT_TRUE(std::filesystem::exists(dir + "/man8/ctnbpf-run.8"));
  std::string pages = dir + "/man8/*.8 " + dir + "/man7/*.7";
  std::string missing;
  auto check = [&](const std::string& tool, const std::string& line) {
    if (!have(tool)) {
      missing += " " + tool;
      return Output{0, "", ""};
    }
    Output said = shell(line);
    EXPECT_EQ(said.code, 0) << said.err << said.out;
    EXPECT_EQ(said.err, "");
    return said;
  };
  EXPECT_EQ(check("mandoc", "mandoc -T lint -W warning " + pages).out, "");
  check("man", "man --warnings -E UTF-8 -l " + pages + " >/dev/null");
  /* What apropos finds: "ctnbpf-run - run a command in a container" */
  std::string found = check("lexgrog", "lexgrog " + pages).out;
  std::filesystem::remove_all(dir);
  if (!missing.empty()) GTEST_SKIP() << "not installed:" << missing;
  EXPECT_NE(found.find("\"ctnbpf-run - run a command in a container\""), std::string::npos)
      << found;
  EXPECT_EQ(lines(found).size(), lines(ctnbpf({"man"}).out).size());
}

TEST_F(Manual, TheSameInputMakesTheSamePages) {
  ::setenv("SOURCE_DATE_EPOCH", "86400", 1);
  Output page = ctnbpf({"man", "ctnbpf-run"});
  ::unsetenv("SOURCE_DATE_EPOCH");
  EXPECT_TRUE(page.out.starts_with(".TH CTNBPF\\-RUN 8 1970-01-02 ")) << page.out.substr(0, 80);
}

TEST_F(Manual, BadInput) {
  Output other = ctnbpf({"man", "ctnbpf-rum"});
  EXPECT_EQ(other.code, 1);
  EXPECT_EQ(other.out, "");
  EXPECT_EQ(other.err,
            "ctnbpf: no page 'ctnbpf-rum': did you mean `ctnbpf-run`? `ctnbpf man` lists them\n");
  Output nowhere = ctnbpf({"man", "--into", "/proc/nowhere"});
  EXPECT_EQ(nowhere.code, 1);
  EXPECT_TRUE(nowhere.err.starts_with("ctnbpf: ")) << nowhere.err;
  EXPECT_NE(nowhere.err.find("'/proc/nowhere/man8'"), std::string::npos) << nowhere.err;
}

}  // namespace
}  // namespace ctnbpf::test
