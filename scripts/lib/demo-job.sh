#!/usr/bin/env bash
# The main job, shown: two commands in containers of their own, limits on both. For scripts/demo,
# as root, with ctnbpf in PATH. Leaves the machine as it was.
set -euo pipefail
export LC_ALL=C.UTF-8

show() { # prints a command as one would type it, and runs it
  printf '\n# %s\n' "$*"
  "$@"
}

# Sources and a Makefile: as much to compile as a slow machine can do in some seconds.
make_project() {
  local i
  mkdir "$work/project"
  for i in {1..24}; do
    printf '#include <stdio.h>\nint f%s(void) { return printf("%s\\n"); }\n' "$i" "$i" \
      >"$work/project/f$i.c"
  done
  # shellcheck disable=SC2016
  printf 'all: $(patsubst %%.c,%%.o,$(wildcard *.c))\n' >"$work/project/Makefile"
}

finish() {
  trap '' INT TERM
  [[ -z $bomb ]] || pkill -ALRM -P "$bomb" timeout || true
  [[ -z $build ]] || kill "$build" 2>/dev/null || true
  wait
  rm -rf "$work"
  [[ -n $was_up ]] || ctnbpf down 2>/dev/null || ctnbpf down --force || true
}

work=$(mktemp -d)
was_up='' build='' bomb=''
[[ ! -e /sys/fs/bpf/ctnbpf ]] || was_up=1
trap finish EXIT
make_project

ctnbpf up
printf '\n# %s\n' \
  "ctnbpf run --name build --numtasks 64 --stat -- make -s -j8 &" \
  "ctnbpf run --name bomb --numtasks 16 --stat -- timeout -s KILL 300 nice perl -e 'fork while 1' &"
ctnbpf run --name build --numtasks 64 --stat -- \
  make -s -C "$work/project" -j8 CC='cc -O2' 2>"$work/build" &
build=$!
ctnbpf run --name bomb --numtasks 16 --stat -- \
  timeout -s KILL 300 nice perl -e 'fork while 1' 2>"$work/bomb" &
bomb=$!

# Until the bomb is at its limit.
for ((i = 0; i < 600; i++)); do
  [[ $(ctnbpf get numtasks:/bomb numtasks.events -n 2>/dev/null || echo 0) == 0 ]] || break
  sleep 0.1
done
show ctnbpf tree
show ctnbpf stat
show ctnbpf get numtasks:/bomb

printf '\n# the build ends as ever; then the bomb is killed\n'
status=0
wait "$build" || status=$?
build=''
grep '^ctnbpf: ' "$work/build" || cat "$work/build"
((status == 0)) || { echo "the build failed with status $status" && exit 1; }
pkill -ALRM -P "$bomb" timeout || true # time is up: it kills its whole process group
wait "$bomb" || true
grep '^ctnbpf: ' "$work/bomb" || cat "$work/bomb"
bomb=''
show ctnbpf tree
