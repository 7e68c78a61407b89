#!/bin/sh
# The first process of a VM started by scripts/vm, run by busybox in the initial RAM file system.
# The host's files (9p, read-only) become the lower layer of an overlay whose upper one is RAM;
# COMMAND runs there. This shell stays outside of it, reaps orphans and ends the machine.
# shellcheck disable=SC1091,SC2154,SC3045 # sourced files and what they set; ulimit is busybox's

bb=/bin/busybox
for tool in mount mkdir ln cat; do
  # shellcheck disable=SC2139
  alias "$tool=$bb $tool"
done

fail() {
  echo "vm: $*"
  $bb reboot -f
}

# Prints the device of the virtio port named $1, once it is there.
port() {
  try=0
  while [ "$try" -lt 50 ]; do
    for dir in /sys/class/virtio-ports/*; do
      [ "$(cat "$dir/name")" = "$1" ] && [ -c "/dev/${dir##*/}" ] && echo "/dev/${dir##*/}" && return
    done 2>/dev/null
    $bb usleep 100000
    try=$((try + 1))
  done
}

while read -r module; do $bb insmod "/modules/$module"; done </modules/order
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
exec </dev/null >/dev/console 2>&1
mount -t 9p -o ro,version=9p2000.L,trans=virtio,access=any,cache=loose,msize=512000 /dev/root /host ||
  fail 'cannot mount the files of the host'
mount -t tmpfs -o mode=755 tmpfs /rw
mkdir /rw/upper /rw/work
mount -t overlay -o lowerdir=/host,upperdir=/rw/upper,workdir=/rw/work,xino=off overlay /root ||
  fail 'cannot mount the overlay'

. /vm/settings # version modules merged input keep links

cd /root || fail 'no root'
for dir in proc sys dev; do mount --bind "/$dir" "$dir"; done
mkdir -p dev/pts dev/shm
mount -t devpts -o gid=5,mode=620,ptmxmode=666 devpts dev/pts
mount -t tmpfs -o mode=1777 tmpfs dev/shm
ln -s /proc/self/fd dev/fd
ln -s /proc/self/fd/0 dev/stdin
ln -s /proc/self/fd/1 dev/stdout
ln -s /proc/self/fd/2 dev/stderr
mount -t tmpfs -o mode=755 tmpfs run
mkdir -p run/lock run/host-tmp boot "usr/lib/modules/$version"
mount --bind ".$modules" "usr/lib/modules/$version"
ln -sf "/lib/modules/$version/config" "boot/config-$version"
mount --bind tmp run/host-tmp
mount -t tmpfs -o mode=1777 tmpfs tmp
eval "set -- $keep"
for dir; do # folders below /tmp that must be there under their own path
  mkdir -p "tmp/$dir"
  mount --bind "run/host-tmp/$dir" "tmp/$dir"
done
eval "set -- $links"
for name; do # other names below /tmp that COMMAND mentions
  [ -e "tmp/$name" ] || ln -s "/run/host-tmp/$name" "tmp/$name"
done
mount -t cgroup2 cgroup2 sys/fs/cgroup
mount -t bpf -o mode=700 bpf sys/fs/bpf
mount -t securityfs securityfs sys/kernel/security
mount -t debugfs debugfs sys/kernel/debug
mount -t tracefs tracefs sys/kernel/tracing
$bb ifconfig lo 127.0.0.1 up
$bb hostname ctnbpf-vm
mount --move . /

control=$(port control) out=$(port out) err=$(port err)
[ -n "$control$out$err" ] || fail 'no virtio ports'
exec 9>"$control"

# Pipes, not the ports themselves: a port has one writer only, so /dev/stdout could not be opened.
$bb mkfifo /out /err /in
cat </out >"$out" &
pumps=$!
exec 7>/out 8>&7
if [ -z "$merged" ]; then
  cat </err >"$err" &
  pumps="$pumps $!"
  exec 8>/err
fi
exec 6</dev/null
if [ -n "$input" ]; then
  cat <"$(port in)" >/in &
  exec 6</in
fi

ulimit -S -c 0
ulimit -S -n 1024
ulimit -H -n 524288
read -r uptime _ </proc/uptime
echo "start $uptime" >&9
(
  exec <&6 >&7 2>&8 6<&- 7>&- 8>&- 9>&-
  . /vm/command
) &
command=$!
exec 6<&- 7>&- 8>&-
wait "$command"
status=$?

# End what COMMAND left running, so that the pumps see the end of its output. First stop all, lest
# some fork away.
for signal in STOP KILL; do
  for dir in /proc/[0-9]*; do
    pid=${dir#/proc/}
    case " 1 $pumps " in *" $pid "*) ;; *) kill -s "$signal" "$pid" ;; esac
  done 2>/dev/null
done
# shellcheck disable=SC2086
wait $pumps
# Closing a port waits for the host, so all output is there before this line is.
echo "exit $status" >&9
echo b >/proc/sysrq-trigger
