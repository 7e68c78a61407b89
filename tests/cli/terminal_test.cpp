/* run on a terminal: as if the command ran alone. What a test waits for is written so that the echo
 * of the typed line does not contain it ($((...)), quotes). */
#include "cli_test.h"
#include "terminal.h"

namespace ctnbpf::test {
namespace {

class Terminal : public CliTest {
 protected:
  static std::vector<std::string> shell_on_terminal() { return {"bash", "--norc", "-i"}; }
  static std::string run(const std::string& rest) { return ctnbpf_path() + " run " + rest; }
};

TEST_F(Terminal, CtrlCEndsTheCommand) {
  Pty terminal({ctnbpf_path(), "run", "--name", "c", "sh", "-c", "echo ready; exec sleep 1000"});
  ASSERT_TRUE(terminal.shows("ready"));
  terminal.type(kCtrlC);
  EXPECT_EQ(terminal.wait(), 130);
  EXPECT_FALSE(exists("default:/c"));
}

/* The terminal signals the whole group; `run` must not send the command a second one. */
TEST_F(Terminal, CtrlCInterruptsTheCommandOnce) {
  /* A signal just before a read blocks would wait for its end, so the script waits in select; and the
   * terminal drops what is printed while it handles Ctrl-C, if not told otherwise. */
  Pty terminal(
      {ctnbpf_path(), "run", "perl", "-e",
       "system 'stty noflsh'; $| = 1; $SIG{INT} = sub { print 'int=', ++$n, qq(\\n) }; print qq(ready\\n); "
       "for (;;) { vec($in = '', 0, 1) = 1; next if select($in, undef, undef, 0.1) < 1; "
       "last if <STDIN> =~ /end/ } print qq(total=$n\\n); exit 7"});
  ASSERT_TRUE(terminal.shows("ready"));
  for (int i = 1; i <= 5; i++) { /* two signals at a time may become one: several times hardly */
    terminal.type(kCtrlC);
    ASSERT_TRUE(terminal.shows("int=" + std::to_string(i)));
  }
  terminal.type("end\n");
  EXPECT_TRUE(terminal.shows("total=5"));
  EXPECT_EQ(terminal.wait(), 7);
}

TEST_F(Terminal, CtrlZStopsAndFgContinues) {
  Pty terminal(shell_on_terminal());
  ASSERT_TRUE(terminal.says(run("--name z sh -c 'echo rea\"d\"y; read x; echo got-$x'"), "ready"));
  terminal.type(kCtrlZ);
  ASSERT_TRUE(terminal.shows("Stopped"));
  EXPECT_TRUE(eventually([&] { return terminal.foreground() == terminal.pid(); }));
  EXPECT_EQ(json({"ps", "default:/z"})[0]["state"], "T"); /* the command, not `run` alone */
  ASSERT_TRUE(terminal.says("echo she$((1))ll", "she1ll"));
  ASSERT_TRUE(terminal.says("fg", "ctnbpf run"));
  ASSERT_TRUE(terminal.says("hello", "got-hello"));
  ASSERT_TRUE(terminal.says("echo co$?de", "co0de"));
  terminal.type("exit 3\n");
  EXPECT_EQ(terminal.wait(), 3);
}

/* A stopped run continued in the background. The shell signals the whole group of the job, and so does
 * `run` on: the command gets that one twice. */
TEST_F(Terminal, SigcontContinuesInTheBackground) {
  Pty terminal(shell_on_terminal());
  ASSERT_TRUE(terminal.says(
      run("perl -e '$SIG{USR1} = sub { exit 5 }; $| = 1; print \"rea\" . \"dy\"; sleep 9 while 1'"),
      "ready"));
  terminal.type(kCtrlZ);
  ASSERT_TRUE(terminal.shows("Stopped"));
  ASSERT_TRUE(terminal.says("bg", "&"));
  ASSERT_TRUE(terminal.says("kill -USR1 $(jobs -p); wait %1; echo co$?de", "co5de"));
}

TEST_F(Terminal, AnInteractiveShellWorksInIt) {
  Pty terminal(shell_on_terminal());
  ASSERT_TRUE(terminal.says(run("--name sh bash --norc -i"), "$ "));
  EXPECT_TRUE(terminal.says("echo in$((1))side", "in1side"));
  EXPECT_NE(terminal.foreground(), terminal.pid());
  EXPECT_TRUE(terminal.says(ctnbpf_path() + " where $$", bound() + ":/sh"));
  EXPECT_TRUE(terminal.says("sleep 1000 & echo started$((1))", "started1"));
  EXPECT_TRUE(terminal.says("jobs", "Running"));
  pid_t shell = terminal.foreground();
  terminal.type("fg\n");
  EXPECT_TRUE(eventually([&] { return terminal.foreground() != shell; })); /* the sleep has it */
  terminal.type(kCtrlC);
  EXPECT_TRUE(terminal.says("echo st$?atus", "st130atus"));
  /* Ctrl-Z in it stops its job, not the shell nor `run`. */
  ASSERT_TRUE(terminal.says("sh -c 'echo slee\"p\"s; exec sleep 1001'", "sleeps"));
  terminal.type(kCtrlZ);
  EXPECT_TRUE(terminal.shows("Stopped"));
  terminal.type("fg\n");
  EXPECT_TRUE(eventually([&] { return terminal.foreground() != shell; }));
  terminal.type(kCtrlC);
  EXPECT_TRUE(terminal.says("echo ag$?ain", "ag130ain"));
  terminal.type("exit 5\n");
  ASSERT_TRUE(terminal.says("echo co$?de", "co5de"));
  EXPECT_TRUE(eventually([&] { return terminal.foreground() == terminal.pid(); }));
  EXPECT_FALSE(exists("default:/sh"));
}

/* A shell that took the terminal for a group of its own and was killed cannot give it back. */
TEST_F(Terminal, IsTakenBackFromAKilledShell) {
  Pty terminal(
      {"sh", "-c", "\"$0\" run bash --norc -i; echo code=$?; read x; echo read=$x", ctnbpf_path()});
  ASSERT_TRUE(terminal.shows("$ "));
  terminal.type("kill -9 $$\n");
  ASSERT_TRUE(terminal.shows("code=137"));
  EXPECT_EQ(terminal.foreground(), terminal.pid());
  EXPECT_TRUE(terminal.says("abc", "read=abc"));
  EXPECT_EQ(terminal.wait(), 0);
}

/* `run` leads the session, as under `ssh -t HOST ctnbpf run ...`: it alone is told of a hangup. */
TEST_F(Terminal, HangupEndsTheCommand) {
  Pty terminal({ctnbpf_path(), "run", "--name", "hup", "sh", "-c", "echo ready; exec sleep 1000"});
  ASSERT_TRUE(terminal.shows("ready"));
  terminal.hang_up();
  EXPECT_EQ(terminal.wait(), 128 + SIGHUP);
  EXPECT_FALSE(exists("default:/hup"));
}

}  // namespace
}  // namespace ctnbpf::test
