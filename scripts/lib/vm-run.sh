#!/bin/sh
# Runs COMMAND in the VM with our ports as its input and output, tells the host its exit status and ends the
# machine. Sourced by vm-init.sh, in the initial RAM file system; or started by systemd.
# shellcheck disable=SC1091,SC2154,SC3045 # sourced files and what they set; ulimit is busybox's

[ -n "${bb-}" ] || bb=/vm/busybox
. /vm/settings # merged input

# Prints the device of the virtio port named $1, once it is there.
port() {
  try=0
  while [ "$try" -lt 50 ]; do
    for dir in /sys/class/virtio-ports/*; do
      [ "$($bb cat "$dir/name")" = "$1" ] && [ -c "/dev/${dir##*/}" ] && echo "/dev/${dir##*/}" && return
    done 2>/dev/null
    $bb usleep 100000
    try=$((try + 1))
  done
}

control=$(port control) out=$(port out) err=$(port err)
[ -n "$control$out$err" ] || {
  echo 'vm: no virtio ports'
  $bb reboot -f
}
exec 9>"$control"

# Pipes, not the ports themselves: a port has one writer only, so /dev/stdout could not be opened.
$bb mkfifo /out /err /in # in RAM
$bb cat </out >"$out" &
pumps=$!
exec 7>/out 8>&7
if [ -z "$merged" ]; then
  $bb cat </err >"$err" &
  pumps="$pumps $!"
  exec 8>/err
fi
exec 6</dev/null
if [ -n "$input" ]; then
  $bb cat <"$(port in)" >/in &
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
    case " 1 $$ $pumps " in *" $pid "*) ;; *) kill -s "$signal" "$pid" ;; esac
  done 2>/dev/null
done
# shellcheck disable=SC2086
wait $pumps
# Closing a port waits for the host, so all output is there before this line is.
$bb sync
echo "exit $status" >&9
echo b >/proc/sysrq-trigger
