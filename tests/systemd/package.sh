#!/usr/bin/env bash
# The package under a real systemd: scripts/vm --systemd -- tests/systemd/package.sh, after scripts/package. One
# line a check, `ok WHAT` or `not ok WHAT`; exit status 1 if one failed. `scripts/test --systemd` counts them.
# shellcheck disable=SC2317 # functions are called through check
set -uo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd -P)
# shellcheck source=tests/support/checks.sh
. "$root/tests/support/checks.sh"
PATH=/usr/sbin:/usr/bin:/sbin:/bin # not what was built, but what is installed
export DEBIAN_FRONTEND=noninteractive

active() { systemctl -q is-active "$1"; }
enabled() { systemctl -q is-enabled "$1"; }
pid_of() { systemctl show -p MainPID --value "$1"; }
not() { ! "$@"; }
says() { # TEXT COMMAND...: COMMAND fails, and says so
  local said
  ! said=$("${@:2}" 2>&1) && [[ $said == *"$1"* ]]
}
limited() { # a service in the container cannot fork beyond what it may
  not systemd-run -q --wait -p Type=oneshot /usr/sbin/ctnbpf run -c default:/service -- sh -c 'true & wait'
}
restarted() { [[ $(pid_of ctnbpf-agentd) != "$1" ]] && active ctnbpf-agentd; }

deb=$(echo "$root"/build/package/ctnbpf_*.deb)
version=$(dpkg-deb -f "$deb" Version)
# A version that does not know what this one has loaded.
scrape() {
  exec 3<>/dev/tcp/127.0.0.1/9974 && printf 'GET /metrics HTTP/1.0\r\n\r\n' >&3 &&
    grep '^ctnbpf_tasks_limit{hierarchy="default",path="/web"} 60' <&3
}
other_layout() {
  printf '#!/bin/sh\necho "ctnbpf: layout 4, this ctnbpf knows another: use the version that made them" >&2\nexit 1\n' \
    >"$1/usr/sbin/ctnbpf"
}
says_where_the_old_one_is() { dpkg -i /run/other.deb >/run/said 2>&1 && grep '/var/lib/ctnbpf/ctnbpf is the version' /run/said; }
make_next "$deb" /run/next.deb .1
make_next "$deb" /run/other.deb .2 other_layout
find / -xdev -path /proc -prune -o -name '*ctnbpf*' -print | grep -v "^$root" >/run/before

check 'the machine is up' is running systemctl is-system-running --wait
check 'it installs' dpkg -i "$deb"
check 'nothing is loaded' not ls /sys/fs/bpf/ctnbpf
check 'nothing is enabled' not enabled ctnbpf
mkdir /etc/ctnbpf
printf '%s\n' '["default:/web"]' 'numtasks.limit = 50' >/etc/ctnbpf/web.toml
check 'it can be enabled' systemctl enable -q ctnbpf ctnbpf-agentd
check 'it starts' systemctl start ctnbpf ctnbpf-agentd
check 'ctnbpf is up' ctnbpf tree
check 'the layout of /etc/ctnbpf is there' is 50 ctnbpf get -n default:/web numtasks.limit
sed -i s/50/60/ /etc/ctnbpf/web.toml
check 'it can be changed' systemctl reload ctnbpf
check 'and is' is 60 ctnbpf get -n default:/web numtasks.limit
rm -r /etc/ctnbpf
check 'the exporter is started by who connects' systemctl start ctnbpf-exporter.socket
check 'and answers' scrape
check 'the file system is mounted' systemctl start ctnbpf-fs
check 'and makes containers' mkdir /run/ctnbpf/fs/default/files
check 'that are there' is 0 ctnbpf get -n default:/files tasks
check 'it is unmounted' systemctl stop ctnbpf-fs
check 'with no trace' not grep ctnbpf-fs /proc/mounts
systemctl stop ctnbpf-exporter.socket ctnbpf-exporter
check 'systemd is content' is running systemctl is-system-running
check 'a container with a limit' ctnbpf create default:/service -s numtasks.limit=1
check 'holds a service' limited
systemd-run -q --unit=stays /usr/sbin/ctnbpf run -c default:/service -- sleep 1000
until [[ $(ctnbpf get -n default:/service tasks) == 1 ]]; do sleep 0.1; done
agentd=$(pid_of ctnbpf-agentd)
check 'a next version installs over it' dpkg -i /run/next.deb
check 'the task is where it was' is 1 ctnbpf get -n default:/service tasks
check 'the limit holds' is 1 ctnbpf get -n default:/service numtasks.limit
check 'agentd is that of the next version' restarted "$agentd"
check 'no old version is kept' not ls /var/lib/ctnbpf
agentd=$(pid_of ctnbpf-agentd)
check 'a version that does not know what is loaded says so' says_where_the_old_one_is
check 'the one before is kept, and works' is 1 /var/lib/ctnbpf/ctnbpf get -n default:/service tasks
check 'agentd goes on' is "$agentd" pid_of ctnbpf-agentd
check 'and back' dpkg -i /run/next.deb
check 'nothing is kept any more' not ls /var/lib/ctnbpf
check 'the task is still there' is 1 ctnbpf get -n default:/service tasks
check 'with tasks in containers it is not removed' says 'ctnbpf down --force' dpkg -r ctnbpf
# shellcheck disable=SC2016 # dpkg-query's
check 'and is as it was' is "$version.1" dpkg-query -W -f '${Version}' ctnbpf
check 'limits too' is 1 ctnbpf get -n default:/service tasks
systemctl stop stays
until [[ $(ctnbpf get -n default:/service tasks) == 0 ]]; do sleep 0.1; done
check 'without them it is' dpkg -P ctnbpf
check 'nothing is loaded any more' not ls /sys/fs/bpf/ctnbpf
left() { find / -xdev -path /proc -prune -o -name '*ctnbpf*' -print | grep -v "^$root"; }
check 'nothing is left' diff /run/before <(left)
none_failed() {
  local units
  mapfile -t units < <(systemctl --failed --no-legend --plain 'ctnbpf*' | cut -d' ' -f1)
  ((!${#units[@]})) || { systemctl status --no-pager "${units[@]}" && false; }
}
check 'no unit of ours has failed' none_failed
exit $failed
