#!/usr/bin/env bash
# cset of Debian (package cpuset), once on the kernel's own cpuset of cgroup v1 and once on ours, by the same
# script; what they print and what the kernel then says is compared line by line. As root in a VM whose kernel has
# both: scripts/vm -k 6.1 -c 2 -m 2048 -- tests/cset/compare.sh. Exit status: 0 if nothing differs but what
# docs/containerfs.md explains.
set -uo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd -P)
bin=$root/build/release/bin
work=$(mktemp -d)

# Says each command and what it printed. Numbers of tasks and counts of them are their own each time.
say() {
  echo "\$ $*"
  "$@" 2>&1
  echo "-> $?"
}

session() {
  local python sleeper
  rm -f "$work/ready"
  mkfifo "$work/ready"
  python3 -c '
import signal, threading
for _ in range(3): threading.Thread(target=threading.Event().wait, daemon=True).start()
print("ready", flush=True)
signal.pause()' >"$work/ready" &
  python=$!
  sleep infinity &
  sleeper=$!
  read -r _ <"$work/ready" # its threads are there
  say cset shield -c 1 -k on
  say cset set -l
  say cset shield --exec -- grep Cpus_allowed_list /proc/self/status
  say cset shield --shield --pid "$sleeper"
  say grep Cpus_allowed_list "/proc/$sleeper/status"
  say cset shield --unshield --pid "$sleeper"
  say cset shield --reset
  say cset set -c 0 -s mine
  say cset set -l -s mine
  say cset proc --move --pid "$sleeper" --toset mine
  say grep Cpus_allowed_list "/proc/$sleeper/status"
  say cset proc --move --threads --pid "$python" --toset mine
  say sh -c "cat /proc/$python/task/*/status | grep -c 'Cpus_allowed_list:.0\$'"
  say cset proc -l -s mine
  say cset set -c 0-1 -s mine
  say grep Cpus_allowed_list "/proc/$sleeper/status"
  say cset set -c 7 -s mine
  say cset set --destroy mine
  say grep Cpus_allowed_list "/proc/$sleeper/status"
  say cset set -l
  kill "$python" "$sleeper"
  wait "$python" "$sleeper" 2>/dev/null
}

# Without pids and counts of tasks. What is known to differ is left out: the tasks that cannot be moved, of which the
# server has some of its own; those that ended before their turn; and in which order sets are listed, which in the
# kernel is that of hashes of their names.
normal() {
  sed -E -e '/tasks (are not movable|were not found)/d' -e 's/[0-9]{2,}/N/g' -e 's/\b[0-9]+ (tasks?|kernel|userspace|threads?)/N \1/g' \
    -e 's/^( +[a-z]+ +[-0-9,]+ [ynx*()]+ +[0-9]+ [ynx*()]+) +[0-9N]+ /\1 N /' \
    -e 's/=+>?//g' -e 's/ +/ /g' -e "s#/proc/N#/proc/PID#g" "$1" |
    awk '/^ (user|system) / { sets[++n] = $0; next }
         n == 2 { first = sets[1] > sets[2] ? 2 : 1; print sets[first]; print sets[3 - first]; n = 0 }
         { print }'
}

export PATH=$bin:/usr/sbin:/usr/bin:/sbin:/bin
modprobe fuse 2>/dev/null
while read -r dir; do umount -l "$dir"; done < <(grep ' cgroup .*cpuset' /proc/mounts | cut -d' ' -f2)

rm -f /sbin/mount.cpuset # the kernel's own
mkdir -p /cpusets
mount -t cgroup -o cpuset,noprefix cpuset /cpusets || exit 125
session >"$work/kernel"
umount /cpusets

ln -s "$bin/ctnbpf-fs" /sbin/mount.cpuset
ctnbpf up || exit 125
ctnbpf hierarchy destroy default
session >"$work/ours"
umount /cpusets
ctnbpf down --force

normal "$work/kernel" >"$work/kernel.normal"
normal "$work/ours" >"$work/ours.normal"
echo "--- on the kernel's own"
cat "$work/kernel"
echo "--- on ctnbpf"
cat "$work/ours"
echo "--- what differs"
diff "$work/kernel.normal" "$work/ours.normal"
status=$?
echo "--- $(wc -l <"$work/ours") lines, $(diff "$work/kernel.normal" "$work/ours.normal" | grep -c '^[<>]') of either differ"
rm -rf "$work"
exit $status
