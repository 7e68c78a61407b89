# shellcheck shell=bash
# The arm64 part of the cache: a Debian that is only unpacked, never run here, with the libraries a cross build links
# and the programs tests call. So this machine's own packages stay of one architecture. Needs common.sh and
# vm-cache.sh.
# shellcheck disable=SC2154 # root, cache, release

# To build against, as scripts/deps has for this machine, and to run.
arm64_libraries=libc6-dev,libstdc++-12-dev,libbpf-dev,libelf-dev,zlib1g-dev,libfmt-dev,libgtest-dev,libcli11-dev
arm64_libraries+=,nlohmann-json3-dev,libmicrohttpd-dev,libncurses-dev,libtomlplusplus-dev,libfuse3-dev
arm64_programs=base-files,base-passwd,bash,dash,coreutils,util-linux,procps,perl-base,sed,grep,findutils,mawk,kmod,iproute2,busybox-static
arm64_programs+=,stress-ng

# Where it is; the number goes up when there is to be more in it. It is always Debian 12, as the cross compiler has to
# be no newer than what it builds runs with.
arm64_dir() { echo "$cache/arm64-bookworm-1"; }

prepare_arm64() {
  local into tmp=$cache/arm64.tmp log keyring
  into=$(arm64_dir)
  [[ ! -d $into ]] || return 0
  mkdir -p "$cache"
  (
    flock 9
    [[ ! -d $into ]] || exit 0
    ((EUID == 0)) || die "cannot unpack a Debian for arm64: run $me as root"
    "$root/scripts/deps" arm64
    say "unpacking a Debian (bookworm) for arm64, once"
    rm -rf "$tmp"
    apt-config dump Acquire >"$tmp.acquire"
    keyring=$(debian_keyring)
    log=$(mmdebstrap --quiet --mode=root --variant=extract --architectures=arm64 --aptopt="$tmp.acquire" \
      --hook-dir=/usr/share/mmdebstrap/hooks/merged-usr --include="$arm64_libraries,$arm64_programs" bookworm "$tmp" \
      "deb [arch=arm64 signed-by=$keyring] $(debian_mirror) bookworm main" 2>&1) || die "mmdebstrap failed: $log"
    rm -rf "$tmp.acquire" "${tmp:?}"/var/cache/apt/archives/*.deb "${tmp:?}"/var/lib/apt/lists/*
    cp "$tmp/usr/share/base-passwd/passwd.master" "$tmp/etc/passwd"
    cp "$tmp/usr/share/base-passwd/group.master" "$tmp/etc/group"
    # Links that are right here as well as there.
    find "$tmp" -xdev -type l -lname '/*' -printf '%p\t%l\n' | while IFS=$'\t' read -r link log; do
      ln -sfnr "$tmp$log" "$link"
    done
    mv "$tmp" "$into"
  ) 9>"$cache/lock"
}
