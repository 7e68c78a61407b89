#!/usr/bin/env bash
# Runs test programs one after the other, for scripts/test, here or in a VM; marks their output for
# count-tests.awk.  usage: run-tests.sh SECONDS PROGRAM...
seconds=$1
shift
for program; do
  echo "@@ begin ${program##*/}"
  timeout -k 10 "$seconds" "$program" --gtest_color=no 2>&1
  status=$?
  ((status != 124 && status != 137)) || echo "no end within $seconds s"
  echo "@@ end ${program##*/} $status"
done
exit 0
