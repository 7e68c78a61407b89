#!/usr/bin/env bash
# Containers as files under a real systemd: a line in fstab, a mount unit, and a release agent that is set through the
# mount: scripts/vm --systemd -- tests/systemd/mount.sh. One line a check, `ok WHAT` or `not ok WHAT`; exit status 1 if
# one failed. `scripts/test --systemd` counts them.
# shellcheck disable=SC2317 # functions are called through check
set -uo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd -P)
# shellcheck source=tests/support/checks.sh
. "$root/tests/support/checks.sh"

comes() { # waits for what comes by itself
  local end=$((SECONDS + 60))
  until "$@"; do
    ((SECONDS < end)) || return 1
    sleep 0.1
  done
}
mounted() { grep -q " $1 fuse.ctnbpf " /proc/mounts; }
not() { ! "$@"; }
serving() { pgrep -f "mount.container .*$1"; }
in_the_units_group() { grep -q "/$1$" "/proc/$(serving "$2" | head -n 1)/cgroup"; }

bin=$root/build/release/bin
install -m 755 "$bin/ctnbpf" "$bin/ctnbpf-fs" /usr/local/sbin/
ln -s /usr/local/sbin/ctnbpf-fs /sbin/mount.container
install -m 644 "$root/build/release/systemd/ctnbpf-agentd.service" /etc/systemd/system/
mkdir -p /containers /srv/containers
echo 'default /containers container noprefix,nofail 0 0' >>/etc/fstab
cat >/etc/systemd/system/srv-containers.mount <<'END'
[Unit]
Description=Process containers as files

[Mount]
What=none
Where=/srv/containers
Type=container

[Install]
WantedBy=multi-user.target
END
modprobe fuse
systemctl daemon-reload

check 'the machine is up' is running systemctl is-system-running --wait
check 'ctnbpf is up' ctnbpf up
check 'the line of fstab is a unit' is loaded systemctl show -p LoadState --value containers.mount
check 'mount(8) takes it' mount /containers
check 'it is mounted' mounted /containers
check 'systemd knows' comes is active systemctl is-active containers.mount
check 'without prefixes' is max cat /containers/limit
check 'umount(8) takes it away' umount /containers
check 'its server too' comes not serving /containers
check 'as a unit it starts' systemctl start containers.mount
check 'and is mounted' mounted /containers
check 'its server is in the control group of the unit' in_the_units_group containers.mount /containers
check 'a container is a directory' mkdir /containers/web
check 'of the command too' ctnbpf get default:/web
check 'a unit of its own starts' systemctl start srv-containers.mount
check 'and shows the same' is max cat /srv/containers/web/numtasks.limit
check 'it can be enabled' systemctl enable -q srv-containers.mount
check 'stop unmounts it' systemctl stop srv-containers.mount
check 'with no server left' comes not serving /srv/containers
check 'and nothing mounted' not mounted /srv/containers
check 'the other one stays' rmdir /containers/web

# As v1's documentation has it.
# shellcheck disable=SC2016 # for the agent
printf '#!/bin/sh\necho "$1" >>/run/released\n' >/run/agent
chmod 755 /run/agent
v1_session() {
  cd /containers && /bin/echo /run/agent >release_agent && mkdir web && /bin/echo 1 >web/notify_on_release &&
    sh -c '/bin/echo $$ > web/tasks && cat web/tasks >/dev/null'
}
check 'agentd starts' systemctl start ctnbpf-agentd
check 'a session of v1' v1_session
released() { grep -qx /web /run/released; }
check 'its release agent was run' comes released
check 'the container is removed as a directory' rmdir /containers/web
check 'stop unmounts the one of fstab' systemctl stop containers.mount
check 'nothing of it is left' comes not serving /containers
check 'down takes all out' ctnbpf down --force
check 'systemd is content' is running systemctl is-system-running
exit $failed
