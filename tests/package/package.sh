#!/usr/bin/env bash
# The Debian package: made, looked at by lintian, installed on bare Debians, upgraded, purged. As root. One line a
# check, `ok WHAT` or `not ok WHAT`; exit status 1 if one failed. `scripts/test --package` counts them.
# shellcheck disable=SC2317 # functions are called through check
set -euo pipefail
# shellcheck source=scripts/lib/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/../../scripts/lib/common.sh"
# shellcheck source=scripts/lib/vm-cache.sh
. "$root/scripts/lib/vm-cache.sh"
# shellcheck source=tests/support/checks.sh
. "$root/tests/support/checks.sh"

# What scripts/deps installs to build with is what debian/control asks for, but for g++, which is there, and what tests need.
same_needs() {
  local ours theirs
  ours=$(sed -n "/^ *\[build\]=/,/'\$/p" "$root/scripts/deps" | tr -d "'" | sed 's/.*\]=//' | xargs -n 1 | sed 's/|.*//' |
    grep -vxE 'g\+\+|libgtest-dev')
  theirs=$(sed -n '/^Build-Depends:/,/^[A-Z].*:/p' "$root/debian/control" | sed 's/^Build-Depends://; /^[A-Z]/d' |
    tr ',' '\n' | awk 'NF {print $1}' | grep -v debhelper)
  diff <(sort <<<"$ours") <(sort <<<"$theirs")
}

# A bare Debian of release $1 in the cache; made once.
bare() {
  local into=$cache/bare-$1 tmp=$cache/bare.tmp keyring
  [[ ! -d $into ]] || return 0
  say "making a bare Debian ($1), once"
  keyring=$(debian_keyring)
  rm -rf "$tmp"
  apt-config dump Acquire >"$cache/bare.acquire"
  mmdebstrap --quiet --mode=root --variant=minbase --aptopt="$cache/bare.acquire" "$1" "$tmp" \
    "deb [signed-by=$keyring] $(debian_mirror) $1 main" >&2
  rm "$cache/bare.acquire"
  mv "$tmp" "$into"
}

# Puts a throw-away copy of $cache/bare-$1 on $here, for this mount namespace.
copy_of() {
  mount -t tmpfs none "$work"
  mkdir "$work/upper" "$work/work" "$here"
  mount -t overlay -o "lowerdir=$cache/bare-$1,upperdir=$work/upper,workdir=$work/work" none "$here"
  mount -t proc none "$here/proc"
  mount --rbind /dev "$here/dev"
  cp /etc/resolv.conf "$here/etc/resolv.conf"
  cp "$deb" "$here/tmp/ctnbpf.deb"
  cp "$next" "$here/tmp/next.deb"
}

inside() { chroot "$here" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin DEBIAN_FRONTEND=noninteractive LANG=C.UTF-8 "$@"; }
apt() { inside apt-get -qq -y --no-install-recommends "$@" >"$work/apt.log" 2>&1 || { tail -n 20 "$work/apt.log" && return 1; }; }
# All that is there but what dpkg and apt keep for themselves.
files() {
  chroot "$here" find / -xdev \( -path /proc -o -path /dev -o -path /sys -o -path /var/cache -o -path /var/log \
    -o -path /var/lib/apt -o -path /var/lib/dpkg -o -path /tmp \) -prune -o -print | sort
}
nothing_left() { diff "$work/before" <(files) && ! inside sh -c 'ls /var/lib/dpkg/info | grep ctnbpf'; }
# shellcheck disable=SC2016 # dpkg-query's
installed() { inside dpkg-query -W -f '${Version}' ctnbpf; }
# By the library names that the dynamic loader finds.
libraries() { ! inside sh -c 'ldd /usr/sbin/ctnbpf /usr/libexec/ctnbpf/*' | grep 'not found'; }
# On this machine's kernel, if it may be seen; it loads what it tries and takes it out again.
doctor() {
  local status=0 said
  mount -t sysfs none "$here/sys"
  mount -t bpf none "$here/sys/fs/bpf"
  said=$(inside ctnbpf doctor 2>&1) || status=$?
  umount -l "$here/sys"
  [[ $status == [03] && $said == *level* ]] || { echo "$status: $said" && return 1; }
}
page() { lexgrog "$here/usr/share/man/man8/ctnbpf-run.8.gz" "$here/usr/share/man/man7/ctnbpf-attributes.7.gz"; }
completes() { inside bash -c '. /usr/share/bash-completion/completions/ctnbpf && complete -p ctnbpf'; }
loaded_nothing() { ! inside test -e /sys/fs/bpf/ctnbpf && ! inside sh -c 'ls /etc/systemd/system/*/ctnbpf*' 2>/dev/null; }

on() { # RELEASE
  copy_of "$1"
  check "$1: apt knows what there is" apt update
  files >"$work/before"
  check "$1: apt installs it" apt install /tmp/ctnbpf.deb
  check "$1: it runs" is "ctnbpf $version" inside ctnbpf --version
  check "$1: with its libraries" libraries
  check "$1: doctor tells of levels" doctor
  check "$1: there is a manual" page
  check "$1: bash takes its completions" completes
  check "$1: nothing was loaded or enabled" loaded_nothing
  check "$1: apt upgrades it" apt install /tmp/next.deb
  check "$1: to the next version" is "$version.1" installed
  check "$1: which runs" is "ctnbpf $version" inside ctnbpf --version
  # With the libraries that came with it, also those that what was there before suggests.
  check "$1: apt purges it" apt purge --autoremove -o APT::AutoRemove::SuggestsImportant=false \
    -o APT::AutoRemove::RecommendsImportant=false ctnbpf
  check "$1: nothing is left" nothing_left
  umount -R -l "$here"
  umount -l "$work"
}

verify() {
  local dir said
  dir=$(mktemp -d "$cache/units.XXXXXX")
  dpkg-deb -x "$deb" "$dir"
  # What does not belong to this machine is not what is looked at.
  said=$(systemd-analyze verify --root="$dir" --man=no --recursive-errors=no "$dir"/lib/systemd/system/ctnbpf* 2>&1 |
    grep -F ctnbpf || true)
  rm -rf "$dir"
  [[ -z $said ]] || { echo "$said" && return 1; }
}

main() {
  ((EUID == 0)) || die "it installs packages in roots of their own: run it as root"
  if [[ ${1-} != --inside ]]; then
    "$root/scripts/deps" build package
    exec unshare -m --propagation private "$0" --inside
  fi
  mkdir -p "$cache"
  deb=$("$root/scripts/package" | tail -n 1)
  next=${deb%.deb}.next
  version=$(dpkg-deb -f "$deb" Version)
  work=$cache/package here=$cache/package/root
  mkdir -p "$work"
  make_next "$deb" "$next" .1
  check 'scripts/deps and debian/control agree' same_needs
  check 'lintian finds no error' lintian --allow-root --fail-on error,warning "$deb"
  if command -v systemd-analyze >/dev/null; then
    check 'systemd-analyze has nothing to say of the units' verify
  else
    echo "# systemd-analyze is not installed: the units are not looked at"
  fi
  for release in bookworm trixie; do
    bare "$release"
    on "$release"
  done
  rm -f "$next"
  exit $failed
}

main "$@"
