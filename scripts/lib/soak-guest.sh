#!/usr/bin/env bash
# What scripts/soak does in the VM.  usage: soak-guest.sh EVENTS
# shellcheck disable=SC2317 # functions are called through check
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd -P)
# shellcheck source=tests/support/checks.sh
. "$root/tests/support/checks.sh"
events=$1
bin=$root/build/release/bin
run=/run/soak
servers=(agentd exporter files)
declare -A pid_of

# Opens and switches are most of it, as on any machine; a round of a long run is larger.
scale=$((events >= 10000000 ? 10 : 1))
forks=$((2000 * scale)) opens=$((20000 * scale)) switches=$((20000 * scale))
moves=400 containers=100

begin_server() { # NAME COMMAND...
  "${@:2}" >"$run/$1.log" 2>&1 &
  pid_of[$1]=$!
}

# The process that serves what is mounted at $1.
server_of() {
  local dir
  for dir in /proc/[0-9]*; do
    [[ $(tr '\0' ' ' <"$dir/cmdline" 2>/dev/null) == *ctnbpf-fs*"$1"* ]] && echo "${dir#/proc/}" && return
  done
  echo "no server of $1" >&2
  return 1
}

mounted() { mkdir -p "$1" && ctnbpf mount "$1" default >/dev/null; }

up() {
  modprobe fuse 2>/dev/null || true # built in
  mkdir -p "$run"
  ctnbpf up >/dev/null
  ctnbpf create default:/a default:/b default:/work -s numtasks.limit=100 >/dev/null
  begin_server agentd ctnbpf agentd
  begin_server exporter ctnbpf exporter --listen "127.0.0.1:9974"
  mounted "$run/files"
  pid_of[files]=$(server_of "$run/files")
  printf '%s\n' '["default:/work"]' 'numtasks.limit = 60' '["default:/work/one"]' 'numfiles.ceiling = 50' >"$run/1.toml"
  printf '%s\n' '["default:/work"]' 'numtasks.limit = 70' '["default:/work/two"]' 'numtasks.limit = 9' >"$run/2.toml"
  sleep infinity &
  moved=$!
}

# The drivers warm up with a quarter more, so a fifth of what they do is that.
drive() { # CONTAINER DRIVER COUNT
  ctnbpf run -c "$1" -- "$bin/$2" 1 $(($3 * 4 / 5)) >/dev/null
  done_events=$((done_events + $3))
}

round() {
  local i names=()
  drive default:/work fork_bench "$forks"
  drive default:/a open_bench "$opens"
  drive default:/b switch_bench "$switches"
  for ((i = 0; i < moves; i += 2)); do
    echo "$moved" >"$run/files/a/tasks"
    echo "$moved" >"$run/files/b/tasks"
  done
  for ((i = 0; i < containers; i++)); do names+=("default:/work/c$i"); done
  ctnbpf create "${names[@]}"
  ctnbpf rm "${names[@]}"
  ctnbpf apply "$run/1.toml" >/dev/null
  ctnbpf apply "$run/2.toml" >/dev/null
  ctnbpf rm default:/work/one default:/work/two
  mounted "$run/killed"
  mkdir "$run/killed/work/sub"
  kill -9 "$(server_of "$run/killed")"
  umount -l "$run/killed"
  ctnbpf rm default:/work/sub
  exec 3<>/dev/tcp/127.0.0.1/9974
  printf 'GET /metrics HTTP/1.0\r\n\r\n' >&3
  cat <&3 >"$run/metrics"
  exec 3<&-
  grep -q '^ctnbpf_' "$run/metrics"
  done_events=$((done_events + moves + 2 * containers + 8))
}

up_json() { # KEY: a number of what is up
  ctnbpf doctor --json | sed -nE '/"up":/,$ s/^ *"'"$1"'": ([0-9]+),?$/\1/p' | head -n 1
}
private_kib() { awk '/^RssAnon:/ {print $2}' "/proc/$1/status"; }
kernel_kib() { awk '/^(SUnreclaim|Percpu|VmallocUsed|KernelStack|PageTables):/ {sum += $2} END {print sum}' /proc/meminfo; }

# Sets `now`: memory of each server, of the maps, and of the kernel, in KiB.
measure() {
  local name
  now=()
  for name in "${servers[@]}"; do now+=("$(private_kib "${pid_of[$name]}")"); done
  now+=("$(($(up_json memory_bytes) / 1024))" "$(kernel_kib)")
}

flat() { # WHAT BEFORE AFTER MORE: no more than MORE KiB larger
  (($3 <= $2 + $4)) || { echo "$1 had $2 KiB after the second round and has $3 KiB" && return 1; }
}
nothing_left() {
  local tries
  for ((tries = 0; tries < 300; tries++)); do # files are freed a moment after they are closed
    [[ "$(up_json containers) $(up_json lingering) $(up_json tasks) $(up_json files)" != '0 0 0 0' ]] || return 0
    sleep 0.1
  done
  echo "containers, lingering, tasks, files: $(up_json containers) $(up_json lingering) $(up_json tasks) $(up_json files)"
  return 1
}
alive() { kill -0 "$1"; }
clean() { [[ $(ctnbpf fsck) == clean ]] || { ctnbpf fsck && return 1; }; }

main() {
  local rounds=0 first=() last=() i name more
  done_events=0
  up
  printf '\nKernel %s: memory in KiB.\n\n' "$(uname -r)"
  printf '| %s ' events 'seconds' "${servers[@]}" maps 'all of the kernel'
  echo '|'
  printf '|%.0s--:' {1..7}
  echo '|'
  while ((done_events < events || rounds < 3)); do
    round
    rounds=$((rounds + 1))
    measure
    ((rounds != 2)) || first=("${now[@]}")
    # A row for each twentieth of the whole, and for the second round.
    if ((rounds == 2 || done_events >= events || done_events / (events / 20) != previous / (events / 20))); then
      printf '| %s ' "$done_events" "$SECONDS" "${now[@]}"
      echo '|'
    fi
    previous=$done_events
  done
  last=("${now[@]}")
  echo
  check 'no drift, with all that is still there' clean
  for name in "${servers[@]}"; do check "the server lives: $name" alive "${pid_of[$name]}"; done
  i=0
  for name in "${servers[@]}" maps 'the kernel'; do
    more=256
    [[ $name != 'the kernel' ]] || more=8192 # it is no measure of ours alone
    check "memory is flat: $name" flat "$name" "${first[i]}" "${last[i]}" "$more"
    i=$((i + 1))
  done
  umount "$run/files"
  kill "$moved" "${pid_of[agentd]}" "${pid_of[exporter]}"
  wait "$moved" || true
  ctnbpf rm -r default:/a default:/b default:/work
  check 'the tables are empty' nothing_left
  check 'fsck finds nothing' clean
  check 'it goes without force' ctnbpf down
  exit "$failed"
}

previous=0
main
