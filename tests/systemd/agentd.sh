#!/usr/bin/env bash
# agentd's unit under a real systemd: scripts/vm --systemd -- tests/systemd/agentd.sh. One line a check,
# `ok WHAT` or `not ok WHAT`; exit status 1 if one failed. `scripts/test --systemd` counts them.
# shellcheck disable=SC2317 # functions are called through check
set -uo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd -P)
unit=ctnbpf-agentd
# shellcheck source=tests/support/checks.sh
. "$root/tests/support/checks.sh"

# Waits for what comes by itself.
comes() {
  local end=$((SECONDS + 60))
  until "$@"; do
    ((SECONDS < end)) || return 1
    sleep 0.1
  done
}
property() { systemctl show -p "$1" --value $unit; }
has_line() { grep -qx "$1" "$2"; }
restarted() { is active property ActiveState && [[ $(property MainPID) != "$1" ]]; }
told_of_the_agent() { journalctl -q -u "$unit" -o cat | grep -q 'released: started /run/agent'; }

# Its container becomes empty, and the agent is told.
releases() {
  ctnbpf create "default:/$1" -s notify_on_release=1 && ctnbpf run -c "default:/$1" -- true &&
    comes has_line "/$1" /run/released
}

install -m 755 "$root/build/release/bin/ctnbpf" /usr/local/sbin/ctnbpf
install -m 644 "$root/build/release/systemd/$unit.service" /etc/systemd/system/
# shellcheck disable=SC2016 # for the agent
printf '#!/bin/sh\necho "$1" >>/run/released\n' >/run/agent
chmod 755 /run/agent
systemctl daemon-reload

check 'the machine is up, and no unit has failed' is running systemctl is-system-running --wait
check 'systemd-analyze has nothing to say' systemd-analyze verify "/etc/systemd/system/$unit.service"
check 'start returns when agentd is ready' systemctl start $unit
check 'it is active' is active property ActiveState
check 'ctnbpf is up' ctnbpf tree
ctnbpf hierarchy list | grep -q '^default ' || ctnbpf hierarchy create default -o numtasks,cpuacct,numfiles
check 'a release agent can be set' ctnbpf set default:/ release_agent=/run/agent
check 'a container that becomes empty is released' releases first
check 'the journal says so' comes told_of_the_agent
pid=$(property MainPID)
check 'agentd can be killed' kill -KILL "$pid"
check 'and is started again' comes restarted "$pid"
check 'it goes on' releases second
refuses() {
  ctnbpf create default:/service -s numtasks.limit=1 &&
    ! systemd-run -q --wait -p Type=oneshot /usr/local/sbin/ctnbpf run -c default:/service -- sh -c 'true & wait' &&
    is 1 ctnbpf get -n default:/service numtasks.failcnt
}
check 'a service cannot fork beyond its limit' refuses
check 'stop ends it' systemctl stop $unit
check 'without a failure' is success property Result
check 'limits hold without it' ctnbpf get default:/first numtasks.limit
check 'it starts once more' systemctl start $unit
check 'down takes all out' ctnbpf down --force
check 'agentd ends by that, with success' comes is inactive property ActiveState
check 'and stays down' is success property Result
exit $failed
