#!/bin/bash
# OCI containers under limits of ours, for real: podman with each runtime that is installed, over the hook and
# hooks.d file that are shipped. A check is a line `ok` or `not ok`; exit status 0 if all are ok.
#
# usage: podman.sh CTNBPF [RUNTIME...]      as root, nothing up
# Below level fallback nothing is refused: limits are then set as far as they go (best effort), and what tells of
# refusals is left out. CTNBPF_ENGINE_CONTAINERS (50) are started and removed, all at once unless
# CTNBPF_ENGINE_AT_ONCE is less. crun 1.8 needs a machine with cgroup v2 alone.
set -u
here=$(dirname "$(readlink -f "$0")")
ctnbpf=$(readlink -f "$1")
shift
(($#)) || for one in runc crun; do command -v "$one" >/dev/null && set -- "$@" "$one"; done
work=$(mktemp -d) failed=0
trap 'podman_ rm -fa -t 0 >/dev/null 2>&1; "$ctnbpf" kill -r default:/oci >/dev/null 2>&1; "$ctnbpf" down --force; rm -rf "$work"' EXIT

check() { # WHAT COMMAND...
  local what=$1
  shift
  if "$@" >"$work/said" 2>&1; then echo "ok $what"; else
    echo "not ok $what"
    sed 's/^/    /' "$work/said"
    failed=1
  fi
}
podman_() {
  podman --root "$work/store" --runroot "$work/run" --storage-driver vfs --cgroup-manager cgroupfs \
    --hooks-dir "$work/hooks" --events-backend file --runtime "$runtime" "$@"
}
await() { # COMMAND..., for a minute
  for _ in $(seq 600); do "$@" 2>/dev/null && return; sleep 0.1; done
  return 1
}
# A shell in a container that has CTNBPF's annotations: start OPTION... -- SCRIPT
start() {
  local options=()
  while [[ $1 != -- ]]; do options+=("$1") && shift; done
  podman_ run --rm --network none --ulimit nofile=1024:1024 --ulimit nproc=4096:4096 --pull never \
    "${effort[@]}" "${options[@]}" --rootfs "$work/root" /bin/sh -c "$2" </dev/null
}
# shellcheck disable=SC2317
children() { "$ctnbpf" --json tree default:/oci | grep -c '"default:/oci/' || true; }
# shellcheck disable=SC2317 # called by check
nothing_left() { [[ $(children) == 0 ]] && "$ctnbpf" fsck; }

mkdir -p "$work"/{hooks,root/{bin,dev,proc,sys,tmp,etc,run}}
cp "$(command -v busybox)" "$work/root/bin/busybox"
for one in sh sleep true cat; do ln -s busybox "$work/root/bin/$one"; done
sed "s|@CMAKE_INSTALL_FULL_SBINDIR@/ctnbpf|$ctnbpf|" "$here/../../share/oci/ctnbpf.json.in" >"$work/hooks/ctnbpf.json"
"$ctnbpf" up >/dev/null || exit 1
"$ctnbpf" create default:/oci default:/jobs -s notify_on_release=0 || exit 1
effort=() enforced=1
"$ctnbpf" --json subsystems | grep -A 4 '"numfiles"' | grep -qE '"level": *"(strict|fallback)"' || {
  effort=(--annotation ctnbpf.best-effort=true) enforced=''
}

for runtime; do
  echo "# $runtime, $(uname -r)"
  start --name in --annotation ctnbpf.numtasks=9 -- 'echo ready; exec sleep 1000' >"$work/out" 2>&1 &
  await grep -qx ready "$work/out"
  id=$(podman_ inspect -f '{{.Id}}' in)
  check "$runtime: the container is in one of its id" "$ctnbpf" get -n "default:/oci/${id:-none}" numtasks.limit
  pid=$(podman_ inspect -f '{{.State.Pid}}' in)
  check "$runtime: its process is a member" bash -c "'$ctnbpf' ps 'default:/oci/$id' | grep -qx '$pid'"
  podman_ rm -f -t 0 in >/dev/null 2>&1
  wait
  check "$runtime: it is gone with its process" nothing_left
  check "$runtime: its figures stay" grep -q "$id" <("$ctnbpf" stat --removed "default:/oci/$id")

  if [[ $enforced ]]; then
    # shellcheck disable=SC2016 # for the shell there
    start --annotation ctnbpf.numfiles=24 -- \
      'i=10; while :; do eval "exec $i</dev/null" || exit 7; i=$((i+1)); done' >"$work/out" 2>&1
    check "$runtime: one open file too many is refused" grep -q 'Too many open files in system' "$work/out"
    start --annotation ctnbpf.numtasks=5 -- 'for i in 1 2 3 4 5 6 7 8; do sleep 5 & done; wait' >"$work/out" 2>&1
    check "$runtime: one process too many is refused" grep -q "can't fork" "$work/out"
    check "$runtime: events name the container" grep -Eq '/oci/[0-9a-f]{64}' <("$ctnbpf" events)
  fi
  start --annotation ctnbpf.numtask=5 -- 'echo started' >"$work/out" 2>&1
  check "$runtime: with an annotation that is unknown it does not start" bash -c "! grep -qx started '$work/out'"
  [[ $runtime != runc ]] || # crun says that a hook failed, and not what it said
    check "$runtime: and says why" grep -q 'did you mean' "$work/out"
  start --annotation ctnbpf.container=default:/jobs -- true
  check "$runtime: below the container that is named" \
    grep -q 'default:/jobs/' <("$ctnbpf" stat -r --removed default:/jobs)

  many=${CTNBPF_ENGINE_CONTAINERS:-50}
  for i in $(seq "$many"); do
    start --name "many-$i" --annotation ctnbpf.numtasks=9 -- 'echo ran' >"$work/ran-$i" 2>"$work/err-$i" || cat "$work/err-$i" >&2 &
    ((i % ${CTNBPF_ENGINE_AT_ONCE:-$many})) || wait
  done
  wait
  check "$runtime: many are started in parallel" test "$(cat "$work"/ran-* | grep -cx ran)" = "$many"
  check "$runtime: of many in parallel nothing is left" nothing_left

  # The hook is killed at some moment: the container does not start, or is in its container.
  # shellcheck disable=SC2016
  printf '#!/bin/sh\nexec timeout -s KILL "$(cat %s)" %s oci-hook\n' "$work/after" "$ctnbpf" >"$work/killed"
  chmod 755 "$work/killed"
  sed "s|$ctnbpf|$work/killed|" "$work/hooks/ctnbpf.json" >"$work/hooks/killed.json"
  mv "$work/hooks/ctnbpf.json" "$work/whole.json"
  for after in 0.005 0.01 0.02 0.03 0.05 0.1; do
    echo "$after" >"$work/after"
    start --annotation ctnbpf.numtasks=9 -- true >/dev/null 2>&1
  done
  rm "$work/hooks/killed.json"
  mv "$work/whole.json" "$work/hooks/ctnbpf.json"
  "$ctnbpf" run --best-effort -- true
  check "$runtime: of hooks that were killed nothing is left" nothing_left
done
exit $failed
