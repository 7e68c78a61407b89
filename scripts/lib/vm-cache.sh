# shellcheck shell=bash
# Fetches Debian kernels and virtme-ng into the cache, with apt settings of our own: the machine's
# apt configuration is read (mirror, proxies), never written. Needs common.sh.

declare -A suite_of=([6.1]=bookworm [6.12]=bookworm-backports [7.2]=sid)

# The mirror this machine already uses for Debian, from apt itself.
debian_mirror() {
  local uri
  if [[ -n ${CTNBPF_DEBIAN_MIRROR-} ]]; then
    printf '%s\n' "$CTNBPF_DEBIAN_MIRROR"
    return
  fi
  uri=$(apt-get indextargets --format '$(REPO_URI)' | grep -m 1 -E '/debian/?$' || true)
  [[ -n $uri ]] || die "apt's sources name no Debian mirror; set CTNBPF_DEBIAN_MIRROR to the URI of one"
  printf '%s\n' "$uri"
}

# Makes a private apt for one suite in $1 and points APT_CONFIG at it.
private_apt() {
  local dir=$1 suite=$2 keyring mirror
  for keyring in /usr/share/keyrings/debian-archive-keyring.{gpg,pgp} ''; do
    [[ ! -e $keyring ]] || break
  done
  [[ -n $keyring ]] || die "no Debian keyring; install debian-archive-keyring"
  mirror=$(debian_mirror)
  mkdir -p "$dir"/{etc/{apt.conf,preferences,sources.list,trusted.gpg}.d,lists/partial,archives/partial}
  : >"$dir/status"
  printf 'deb [arch=amd64 signed-by=%s] %s %s main\n' "$keyring" "$mirror" "$suite" >"$dir/etc/sources.list"
  {
    apt-config dump Acquire
    cat <<END
Dir::Etc "$dir/etc";
Dir::Etc::netrc "/etc/apt/auth.conf";
Dir::Etc::netrcparts "/etc/apt/auth.conf.d";
Dir::State "$dir";
Dir::State::status "$dir/status";
Dir::Cache "$dir";
APT::Architecture "amd64";
APT::Architectures { "amd64"; };
APT::Sandbox::User "root";
Acquire::Languages "none";
END
  } >"$dir/apt.conf"
  export APT_CONFIG=$dir/apt.conf
}

# Downloads the packages that `pick` names from a suite and unpacks them into $1.
unpack_from() {
  local into=$1 suite=$2 pick=$3 dir deb names
  dir=$cache/apt.$suite
  rm -rf "$dir"
  (
    private_apt "$dir" "$suite"
    apt-get -qq update
    mapfile -t names < <("$pick")
    ((${#names[@]})) || die "suite $suite holds no package for '$pick'"
    cd "$dir/archives"
    apt-get -qq download "${names[@]}"
  ) >&2
  for deb in "$dir"/archives/*.deb; do dpkg-deb -x "$deb" "$into"; done
  rm -rf "$dir"
}

pick_virtme() { echo virtme-ng; }

# The kernel that the suite's linux-image-amd64 stands for: an image, or since the split an image
# that depends on its binary and its modules.
pick_kernel() {
  apt-cache depends --recurse --no-recommends --no-suggests --no-conflicts --no-breaks \
    --no-replaces --no-enhances linux-image-amd64 |
    grep -E '^linux-(image|binary|modules)-[0-9]' | grep -vE -- '-(cloud|rt)-' | sort -u
}

# Takes the uncompressed kernel out of a bzImage: under emulation unpacking it costs seconds.
extract_vmlinux() {
  local image=$1 out=$2 offset
  try() {
    while read -r offset; do
      tail -c +$((offset + 1)) "$image" | "${@:2}" >"$out" 2>/dev/null || true
      [[ $(head -c 4 "$out") != $'\x7fELF' ]] || return 0
    done < <(LC_ALL=C grep -abo -P -- "$1" "$image" | LC_ALL=C cut -d: -f1)
    return 1
  }
  try '\xfd7zXZ\x00' xz -dc || try '\x28\xb5\x2f\xfd' zstd -dcq || try '\x1f\x8b\x08' gzip -dc ||
    die "cannot unpack the kernel image $image"
}

# The initial RAM file system: busybox and the modules that reach the host's files.
make_initrd() {
  local dir=$1 version=$2 out=$3 tree module name
  tree=$dir/initrd
  mkdir -p "$tree"/{bin,dev,proc,sys,host,rw,root,modules}
  cp "$(command -v busybox)" "$tree/bin/busybox"
  ln -s busybox "$tree/bin/sh"
  for name in virtio_pci virtio_console 9pnet_virtio 9p overlay; do
    modprobe -d "$dir" -S "$version" --show-depends "$name" 2>/dev/null || true
  done | sed -n 's/^insmod \([^ ]*\).*/\1/p' | awk '!seen[$0]++' | while read -r module; do
    name=${module##*/} name=${name%.ko*}.ko
    case $module in
      *.xz) xz -dc "$module" ;;
      *.zst) zstd -dcq "$module" ;;
      *) cat "$module" ;;
    esac >"$tree/modules/$name"
    printf '%s\n' "$name" >>"$tree/modules/order"
  done
  (cd "$tree" && find . | busybox cpio -o -H newc 2>/dev/null) >"$out"
  rm -rf "$tree"
}

prepare_kernel() {
  local key=$1 tmp=$cache/kernel-$1.tmp version image
  say "fetching Debian's kernel $key (${suite_of[$key]}), once"
  rm -rf "$tmp"
  mkdir -p "$tmp"
  unpack_from "$tmp" "${suite_of[$key]}" pick_kernel
  [[ -d $tmp/lib/modules ]] || ln -s usr/lib "$tmp/lib"
  version=$(ls "$tmp/lib/modules")
  [[ $version == "$key".* ]] || say "suite ${suite_of[$key]} now holds $version"
  depmod -b "$tmp" "$version" 2>/dev/null
  for image in "$tmp/boot/vmlinuz-$version" "$tmp/lib/modules/$version/vmlinuz"; do
    [[ ! -e $image ]] || mv "$image" "$tmp/vmlinuz"
  done
  extract_vmlinux "$tmp/vmlinuz" "$tmp/vmlinux"
  make_initrd "$tmp" "$version" "$tmp/initrd.cpio"
  printf '%s\n' "$version" >"$tmp/version"
  rm -rf "$tmp/boot" "$tmp/usr/share" "$cache/kernel-$key"
  mv "$tmp" "$cache/kernel-$key"
}

prepare_virtme() {
  local tmp=$cache/virtme.tmp
  rm -rf "$tmp"
  mkdir -p "$tmp"
  unpack_from "$tmp" trixie pick_virtme
  mv "$tmp" "$cache/virtme"
}

# Makes sure the kernel $1 and virtme-ng are there; the first of several callers does the work.
prepare() {
  [[ -e $cache/kernel-$1/version && -d $cache/virtme ]] && return
  mkdir -p "$cache"
  (
    flock 9
    "$root/scripts/deps" vm
    [[ -d $cache/virtme ]] || prepare_virtme
    [[ -e $cache/kernel-$1/version ]] || prepare_kernel "$1"
  ) 9>"$cache/lock"
}
