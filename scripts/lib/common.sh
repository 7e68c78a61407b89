# shellcheck shell=bash
# What the project's scripts share: sets `root` and `cache`, defines say, die and usage_error.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd -P)
cache=${CTNBPF_CACHE:-$root/build/cache}
[[ $cache == /* ]] || cache=$PWD/$cache
export root cache
me=scripts/${0##*/}

say() { printf '%s: %s\n' "$me" "$*" >&2; }

die() {
  say "$*"
  exit 1
}

# Bad usage: one line that names the input and the cure.
usage_error() {
  say "$*; see $me --help"
  exit 2
}
