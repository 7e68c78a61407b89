# shellcheck shell=bash
# What test scripts share that say `ok WHAT` or `not ok WHAT` of each check, for `scripts/test` to count. Sets
# `failed`, with which they end.
failed=0

check() { # WHAT COMMAND...: COMMAND succeeds
  local what=$1 said
  shift
  if said=$("$@" 2>&1); then
    echo "ok $what"
  else
    # shellcheck disable=SC2034
    failed=1
    echo "not ok $what"
    printf '%s: %s\n' "$*" "$said" | sed 's/^/# /'
  fi
}

# COMMAND... prints $1 and nothing else.
is() { [[ $("${@:2}") == "$1" ]]; }

# Makes a package $2 with the same files as $1 and a version with $3 behind it. COMMAND, with the folder behind it,
# may change files before.
make_next() { # FROM TO SUFFIX [COMMAND...]
  local dir from=$1 to=$2 suffix=$3
  dir=$(mktemp -d)
  dpkg-deb -R "$from" "$dir"
  sed -i "s/^Version: .*/&$suffix/" "$dir/DEBIAN/control"
  [[ -z ${4-} ]] || "${@:4}" "$dir"
  dpkg-deb --root-owner-group -Znone -b "$dir" "$to" >/dev/null
  rm -rf "$dir"
}
