#!/usr/bin/env bash
# The long form of MountFuzz: random requests of an ordinary user with the server under the address and undefined
# behaviour sanitizers. As root, where ctnbpf is not up: tests/fuzz/containerfs.sh [OPERATIONS [SEED]]
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd -P)
bin=$root/build/sanitize/bin
logs=$root/build/test-logs/fuzz

"$root/scripts/build" release cli_test ctnbpf >/dev/null
"$root/scripts/build" sanitize ctnbpf-fs >/dev/null
mkdir -p "$logs"
rm -f "$logs"/*
# A test runs what is beside it: the command as it is, the server with sanitizers.
cp "$root"/build/release/bin/{cli_test,ctnbpf} "$bin"
status=0
CTNBPF_FUZZ_OPERATIONS=${1:-1000000} CTNBPF_FUZZ_SEED=${2:-1} \
  ASAN_OPTIONS=log_path=$logs/server UBSAN_OPTIONS=log_path=$logs/server:print_stacktrace=1 \
  "$bin/cli_test" --gtest_filter='MountFuzz.*' || status=$?
if compgen -G "$logs/server*" >/dev/null; then
  cat "$logs"/server*
  echo "the sanitizers have something to say"
  exit 1
fi
exit $status
