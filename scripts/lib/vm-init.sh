#!/bin/sh
# The first process of a VM started by scripts/vm, run by busybox in the initial RAM file system.
# The host's files (9p, read-only) become the lower layer of an overlay whose upper one is RAM;
# COMMAND runs there. This shell stays outside of it, reaps orphans and ends the machine.

bb=/bin/busybox
for tool in mount mkdir ln cat; do
  # shellcheck disable=SC2139
  alias "$tool=$bb $tool"
done

fail() {
  echo "vm: $*" >/dev/kmsg
  echo "vm: $*" >/dev/console
  $bb reboot -f
}

# Prints the device of the virtio port named $1, once it is there.
port() {
  for try in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
    for dir in /sys/class/virtio-ports/*; do
      name=$(cat "$dir/name")
      [ "$name" = "$1" ] && [ -c "/dev/${dir##*/}" ] && echo "/dev/${dir##*/}" && return
    done 2>/dev/null
    $bb usleep 100000
  done
}

while read -r module; do $bb insmod "/modules/$module"; done </modules/order
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
exec </dev/null >/dev/console 2>&1
mount -t 9p -o ro,version=9p2000.L,trans=virtio,access=any,cache=loose,msize=524288 /dev/root /host ||
  fail 'cannot mount the files of the host'
mount -t tmpfs -o mode=755 tmpfs /rw
mkdir /rw/upper /rw/work /rw/tmp
mount -t overlay -o lowerdir=/host,upperdir=/rw/upper,workdir=/rw/work,xino=off overlay /root ||
  fail 'cannot mount the overlay'

# From the host: cwd, version, modules, merged, input, keep, links.
. /vm/settings

cd /root || fail 'no root'
for dir in proc sys dev; do mount --bind "/$dir" "/root/$dir"; done
mkdir -p dev/pts dev/shm
mount -t devpts -o gid=5,mode=620,ptmxmode=666 devpts dev/pts
mount -t tmpfs -o mode=1777 tmpfs dev/shm
ln -s /proc/self/fd dev/fd
ln -s /proc/self/fd/0 dev/stdin
ln -s /proc/self/fd/1 dev/stdout
ln -s /proc/self/fd/2 dev/stderr
mount -t tmpfs -o mode=755 tmpfs run
mkdir -p run/lock run/host-tmp
mkdir -p "usr/lib/modules/$version"
mount --bind ".$modules" "usr/lib/modules/$version"
mount --bind tmp run/host-tmp
mount -t tmpfs -o mode=1777 tmpfs tmp
eval "set -- $keep"
for dir; do
  mkdir -p "tmp/$dir"
  mount --bind "run/host-tmp/$dir" "tmp/$dir"
done
eval "set -- $links"
for name; do [ -e "tmp/$name" ] || ln -s "/run/host-tmp/$name" "tmp/$name"; done
mount -t cgroup2 cgroup2 sys/fs/cgroup
mount -t bpf -o mode=700 bpf sys/fs/bpf
mount -t securityfs securityfs sys/kernel/security
mount -t debugfs debugfs sys/kernel/debug
mount -t tracefs tracefs sys/kernel/tracing
$bb ifconfig lo 127.0.0.1 up
$bb hostname ctnbpf-vm
mount --move . /

out=$(port out) err=$(port err)
control=$(port control)
[ -n "$control" ] || fail 'no virtio ports'
exec 9>"$control"

# Pipes, not the ports themselves: a port has one writer only, so /dev/stdout could not be opened.
$bb mkfifo /out /err /in
$bb cat </out >"$out" &
pumps=$!
if [ -n "$merged" ]; then
  exec 7>/out 8>&7
else
  $bb cat </err >"$err" &
  pumps="$pumps $!"
  exec 7>/out 8>/err
fi
if [ -n "$input" ]; then
  $bb cat <"$(port in)" >/in &
  exec 6</in
else
  exec 6</dev/null
fi

ulimit -S -c 0
ulimit -S -n 1024
ulimit -H -n 524288
echo start >&9
(
  exec <&6 >&7 2>&8 6<&- 7>&- 8>&- 9>&-
  . /vm/command # sets the arguments and calls run
) &
pid=$!
exec 6<&- 7>&- 8>&-
wait "$pid"
status=$?

# End what COMMAND left running, so that the pumps see the end of its output.
for dir in /proc/[0-9]*; do
  pid=${dir#/proc/}
  case " 1 $pumps " in *" $pid "*) ;; *) kill -9 "$pid" 2>/dev/null ;; esac
done
# shellcheck disable=SC2086
wait $pumps
echo "exit $status" >&9
echo b >/proc/sysrq-trigger
