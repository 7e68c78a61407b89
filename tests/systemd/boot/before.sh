#!/usr/bin/env bash
# Before a boot: scripts/vm --systemd --disk FILE -- tests/systemd/boot/before.sh, after scripts/package; then after.sh
# with the same FILE. One line a check, as package.sh.
# shellcheck disable=SC2317 # functions are called through check
set -uo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../../.." && pwd -P)
# shellcheck source=tests/support/checks.sh
. "$root/tests/support/checks.sh"
PATH=/usr/sbin:/usr/bin:/sbin:/bin
export DEBIAN_FRONTEND=noninteractive

check 'it installs' dpkg -i "$root"/build/package/ctnbpf_*.deb
mkdir -p /etc/ctnbpf
printf '%s\n' '["default:/web"]' 'numtasks.limit = 50' 'numfiles.ceiling = 4000' '["default:/web/static"]' \
  '["owners:/"]' 'subsystems = []' '["owners:/alice"]' >/etc/ctnbpf/machine.toml
cat >/etc/systemd/system/web.service <<'END'
[Service]
ExecStart=/usr/sbin/ctnbpf exec default:/web -- /usr/bin/sleep infinity
[Install]
WantedBy=multi-user.target
END
echo 'CTNBPF_UP="--max-containers 1000"' >/etc/default/ctnbpf
check 'its services are enabled' systemctl enable -q ctnbpf ctnbpf-agentd ctnbpf-fs web
check 'nothing is loaded before the boot' test ! -e /sys/fs/bpf/ctnbpf
exit "$failed"
