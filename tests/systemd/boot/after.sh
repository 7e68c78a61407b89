#!/usr/bin/env bash
# After the boot that before.sh is about: what is enabled has come up, with the layout, before services that need it.
# shellcheck disable=SC2317 # functions are called through check
set -uo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../../.." && pwd -P)
# shellcheck source=tests/support/checks.sh
. "$root/tests/support/checks.sh"
PATH=/usr/sbin:/usr/bin:/sbin:/bin

active() { systemctl -q is-active "$1"; }
# shellcheck disable=SC2016 # for that shell
refused() { ! ctnbpf exec default:/web -- sh -c 'for i in $(seq 60); do sleep 9 & done' 2>/dev/null; }

check 'the machine is up' is running systemctl is-system-running --wait
for unit in ctnbpf ctnbpf-agentd ctnbpf-fs web; do check "$unit is active" active "$unit"; done
check 'containers of the layout are there' ctnbpf get default:/web/static
check 'in the other hierarchy too' ctnbpf get owners:/alice
check 'their limits are set' is 50 ctnbpf get -n default:/web numtasks.limit
check 'of files too' is 4000 ctnbpf get -n default:/web numfiles.limit
check 'the service is in its container' is 1 ctnbpf get -n default:/web tasks
check 'and its limit refuses' refused
check 'the size is that of /etc/default' grep -q '"max_containers": 1000' <(ctnbpf --json doctor)
check 'containers are there as files' is 50 cat /run/ctnbpf/fs/default/web/numtasks.limit
check 'nothing is off' is clean ctnbpf fsck
exit "$failed"
