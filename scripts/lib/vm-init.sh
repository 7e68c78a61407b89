#!/bin/sh
# The first process of a VM started by scripts/vm, run by busybox in the initial RAM file system.
# The host's files (9p, read-only), or a Debian of its own among them (--systemd, --arch), become the lower
# layer of an overlay whose upper one is RAM; COMMAND runs there. Without systemd this shell stays outside
# of it, reaps orphans and ends the machine.
# shellcheck disable=SC1091,SC2154 # sourced files and what they set

bb=/bin/busybox
for tool in mount mkdir ln cat cp; do
  # shellcheck disable=SC2139
  alias "$tool=$bb $tool"
done

fail() {
  echo "vm: $*"
  $bb reboot -f
}

while read -r module; do $bb insmod "/modules/$module"; done </modules/order
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
exec </dev/null >/dev/console 2>&1
mount -t 9p -o ro,version=9p2000.L,trans=virtio,access=any,cache=loose,msize=512000 /dev/root /host ||
  fail 'cannot mount the files of the host'
. /vm/settings # version modules merged input keep links network system systemd disk visible
if [ -n "$disk" ]; then
  while read -r module; do $bb insmod "/modules/$module" 2>/dev/null; done </modules/orderdisk # some are loaded
  mount -t ext4 /dev/vda /rw || fail 'cannot mount the disk'
else
  mount -t tmpfs -o mode=755 tmpfs /rw
fi
mkdir -p /rw/upper /rw/work
mount -t overlay -o "lowerdir=/host$system,upperdir=/rw/upper,workdir=/rw/work,xino=off" overlay /root ||
  fail 'cannot mount the overlay'

cd /root || fail 'no root'
for dir in proc sys dev; do mount --bind "/$dir" "$dir"; done
if [ -n "$system" ]; then
  eval "set -- $visible"
  for dir; do # of the host
    mkdir -p ".$dir"
    mount --bind "/host$dir" ".$dir"
  done
fi
mkdir -p dev/pts dev/shm
mount -t devpts -o gid=5,mode=620,ptmxmode=666 devpts dev/pts
mount -t tmpfs -o mode=1777 tmpfs dev/shm
ln -s /proc/self/fd dev/fd
ln -s /proc/self/fd/0 dev/stdin
ln -s /proc/self/fd/1 dev/stdout
ln -s /proc/self/fd/2 dev/stderr
mount -t tmpfs -o mode=755 tmpfs run
mkdir -p run/lock run/host-tmp boot "usr/lib/modules/$version"
mount --bind "/host$modules" "usr/lib/modules/$version"
ln -sf "/lib/modules/$version/config" "boot/config-$version"
if [ -n "$system" ]; then mount --bind /host/tmp run/host-tmp; else mount --bind tmp run/host-tmp; fi
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
$bb ifconfig lo 127.0.0.1 up
if [ -n "$network" ]; then # QEMU's own, see its -netdev user
  $bb chroot . /sbin/modprobe virtio_net
  $bb ifconfig eth0 10.0.2.15 netmask 255.255.255.0 up || fail 'no network card'
fi
$bb hostname ctnbpf-vm

if [ -n "$systemd" ]; then # it mounts the rest itself, and runs COMMAND last of all
  mkdir -p vm etc/systemd/system
  cp /bin/busybox /vm/* vm
  cat >etc/systemd/system/vm.target <<'END'
[Unit]
Description=COMMAND of scripts/vm, when the machine is up
Requires=multi-user.target
Wants=vm-command.service
END
  cat >etc/systemd/system/vm-command.service <<'END'
[Unit]
Description=COMMAND of scripts/vm
After=multi-user.target
[Service]
ExecStart=/vm/busybox sh /vm/run
TasksMax=infinity
END
  ln -sf vm.target etc/systemd/system/default.target
  echo 0123456789abcdef0123456789abcdef >etc/machine-id # no first boot
  echo ctnbpf-vm >etc/hostname
  exec $bb switch_root /root /sbin/init
fi

mount -t cgroup2 cgroup2 sys/fs/cgroup
mount -t bpf -o mode=700 bpf sys/fs/bpf
mount -t securityfs securityfs sys/kernel/security
mount -t debugfs debugfs sys/kernel/debug
mount -t tracefs tracefs sys/kernel/tracing
mount --move . /
. /vm/run
