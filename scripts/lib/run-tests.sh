#!/usr/bin/env bash
# Runs test programs one after the other, for scripts/test, here or in a VM; marks their output for
# count-tests.awk.  usage: run-tests.sh SECONDS PROGRAM...
#
# Up to three failed tests of a program are run once more, by themselves: an emulated machine on a busy
# host can hold a CPU up for long. What passes then is reported by name as unsteady.
seconds=$1
shift
log=$(mktemp)
trap 'rm -f "$log"' EXIT
for program; do
  echo "@@ begin ${program##*/}"
  # Not through a pipe: children of a program that died would hold it open for ever.
  timeout -k 10 "$seconds" "$program" --gtest_color=no >"$log" 2>&1 &
  running=$!
  tail -c +1 -f -s 0.2 --pid="$running" "$log"
  wait "$running"
  status=$?
  ((status != 124 && status != 137)) || echo "no end within $seconds s"
  mapfile -t failed < <(sed -nE 's/^\[  FAILED  \] ([^ ,]*\.[^ ,]*).*/\1/p' "$log" | sort -u)
  if ((status == 1 && ${#failed[@]} > 0 && ${#failed[@]} <= 3)); then
    echo "@@ again ${program##*/}"
    timeout -k 10 "$seconds" "$program" --gtest_color=no --gtest_filter="$(IFS=: && echo "${failed[*]}")" 2>&1
    status=$?
  fi
  echo "@@ end ${program##*/} $status"
done
exit 0
