# Reads the output of GoogleTest programs, each run by run-tests.sh, and prints one line a program:
#   NAME PASSED FAILED SKIPPED
# Into the file `failures` goes what the failed tests said, into `reasons` why tests were skipped.
# A program that dies fails the test it was in; one that ran nothing fails as a whole, unless
# `filtered` says that tests were chosen. A failed test that passes when it is run again counts as passed;
# its name and what it said go into the file `unsteady`.

function finish() {
  if (program == "") return
  if (running != "") fail(running, "the program died in it")
  else if (!complete) fail(program, "the program did not come to its end")
  else if (status != 0 && !failed) fail(program, "exit status " status)
  else if (passed + failed + skipped == 0 && !filtered) fail(program, "it ran no test")
  for (test in told) printf "%s", told[test] > failures
  print program, passed, failed, skipped
  program = ""
}

function fail(test, why) {
  if (!(test in told)) failed++
  told[test] = sprintf("FAILED: %s: %s%s\n%s", where, test, why == "" ? "" : " (" why ")", said)
  said = ""
}

# The marks may follow output of a child that ends in no newline.
function mark(text) { return index($0, text) }
function name_after(text,   rest) {
  rest = substr($0, index($0, text) + length(text))
  sub(/[ ,].*/, "", rest)
  return rest
}

mark("@@ begin ") {
  finish()
  program = name_after("@@ begin ")
  passed = failed = skipped = complete = 0
  running = said = ""
  status = -1
  split("", told)
  next
}
mark("@@ again ") {
  complete = 0
  said = ""
  next
}
mark("@@ end ") {
  status = $NF
  finish()
  next
}
program == "" { next }
mark("[ RUN      ] ") {
  running = name_after("[ RUN      ] ")
  said = ""
  next
}
running != "" && mark("[       OK ] " running) {
  passed++
  if (running in told) {
    failed--
    sub(/^FAILED/, "unsteady", told[running])
    printf "%s", told[running] > unsteady
    delete told[running]
  }
  running = ""
  next
}
running != "" && mark("[  FAILED  ] " running) { fail(running, ""); running = ""; next }
running != "" && mark("[  SKIPPED ] " running) {
  skipped++
  sub(/^(.*\n)?[^\n]*: Skipped\n/, "", said)
  sub(/\n.*/, "", said)
  print said > reasons
  running = ""
  next
}
# The summary comes last; a failure outside of tests stands before it.
/^\[==========\] .* ran\./ { complete = 1; next }
{ if (!complete) said = said $0 "\n" }
END { finish() }
