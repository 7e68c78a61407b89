# shellcheck shell=bash
# Fetches Debian's kernels and virtme-ng into the cache with apt settings of our own: the machine's
# apt configuration is read (mirror, proxies), never written. Needs common.sh.
# shellcheck disable=SC2154 # root, cache

declare -A suite_of=([6.1]=bookworm [6.12]=bookworm-backports [7.2]=sid)

# The mirror this machine already uses for Debian, from apt itself.
debian_mirror() {
  local uri=${CTNBPF_DEBIAN_MIRROR-}
  # shellcheck disable=SC2016 # apt expands it
  [[ -n $uri ]] || uri=$(apt-get indextargets --format '$(REPO_URI)' | grep -m 1 -E '/debian/?$' || true)
  [[ -n $uri ]] || die "apt's sources name no Debian mirror; set CTNBPF_DEBIAN_MIRROR to the URI of one"
  printf '%s\n' "$uri"
}

debian_keyring() {
  local keyring=/usr/share/keyrings/debian-archive-keyring
  if [[ -e $keyring.gpg ]]; then keyring+=.gpg; else keyring+=.pgp; fi
  [[ -e $keyring ]] || die "no Debian keyring '$keyring'; install debian-archive-keyring"
  printf '%s\n' "$keyring"
}

# Makes a private apt for one suite and architecture in folder $1 and points APT_CONFIG at it.
private_apt() {
  local dir=$1 suite=$2 arch=$3 mirror keyring
  mirror=$(debian_mirror)
  keyring=$(debian_keyring)
  mkdir -p "$dir"/{etc/{apt.conf,preferences,sources.list,trusted.gpg}.d,lists/partial,archives/partial}
  : >"$dir/status"
  printf 'deb [arch=%s signed-by=%s] %s %s main\n' "$arch" "$keyring" "$mirror" "$suite" >"$dir/etc/sources.list"
  {
    apt-config dump Acquire
    cat <<END
Dir::Etc "$dir/etc";
Dir::Etc::netrc "/etc/apt/auth.conf";
Dir::Etc::netrcparts "/etc/apt/auth.conf.d";
Dir::State "$dir";
Dir::State::status "$dir/status";
Dir::Cache "$dir";
APT::Architecture "$arch";
APT::Architectures { "$arch"; };
APT::Sandbox::User "";
Acquire::Languages "none";
END
  } >"$dir/apt.conf"
  export APT_CONFIG=$dir/apt.conf
}

# Downloads the packages whose names `$3` prints from suite $2, for $4 (amd64), and unpacks them into $1.
unpack_from() {
  local into=$1 suite=$2 pick=$3 arch=${4:-amd64} dir=$cache/apt.$2 deb names
  rm -rf "$dir"
  mkdir -p "$dir"
  (
    private_apt "$dir" "$suite" "$arch"
    apt-get -qq update
    mapfile -t names < <("$pick")
    ((${#names[@]})) || die "suite '$suite' holds no package for $pick; look at the mirror"
    cd "$dir/archives" || exit
    apt-get -qq download "${names[@]}"
  ) >&2
  for deb in "$dir"/archives/*.deb; do dpkg-deb -x "$deb" "$into"; done
  rm -rf "$dir"
}

pick_virtme() { echo virtme-ng; }

# What the suite's linux-image-ARCH stands for: an image, or since the split an image that depends
# on its binary, its modules and their lists.
pick_kernel() {
  apt-cache depends --recurse --no-recommends --no-suggests --no-conflicts --no-breaks \
    --no-replaces --no-enhances "linux-image-$arch" |
    grep -E '^linux-(image|binary|modules|base)-[0-9]' | grep -vE -- '-(cloud|rt)-' | sort -u
}

# Takes the uncompressed kernel out of a bzImage: in an emulated machine unpacking costs seconds.
extract_vmlinux() {
  local image=$1 out=$2 magic offset
  local -A unpack=(['\xfd7zXZ\x00']='xz -dc' ['\x28\xb5\x2f\xfd']='zstd -dcq' ['\x1f\x8b\x08']='gzip -dc')
  for magic in "${!unpack[@]}"; do
    while read -r offset; do
      # shellcheck disable=SC2086 # what follows the kernel makes the unpacker complain
      tail -c +$((offset + 1)) "$image" | ${unpack[$magic]} >"$out" 2>/dev/null || true
      [[ $(head -c 4 "$out" | tr -d '\0') != $'\x7fELF' ]] || return 0
    done < <(LC_ALL=C grep -abo -P -- "$magic" "$image" | LC_ALL=C cut -d: -f1)
  done
  die "cannot unpack the kernel image '$image'; it is packed neither by xz, zstd nor gzip"
}

# Puts modules of the kernel below $2 into $1/modules, and their order into the file `order$4`.
add_modules() { # TREE KERNEL VERSION SUFFIX MODULE...
  local tree=$1 module target
  mkdir -p "$tree/modules"
  for module in "${@:5}"; do
    modprobe -d "$2" -S "$3" --show-depends "$module" 2>/dev/null || true # built in
  done | sed -n 's/^insmod \([^ ]*\).*/\1/p' | awk '!seen[$0]++' | while read -r module; do
    target=${module##*/}
    target=${target%.ko*}.ko
    case $module in
      *.xz) xz -dc "$module" ;;
      *.zst) zstd -dcq "$module" ;;
      *) cat "$module" ;;
    esac >"$tree/modules/$target"
    printf '%s\n' "$target" >>"$tree/modules/order$4"
  done
}

# The initial RAM file system: busybox (`$3`) and the modules that reach the host's files.
make_initrd() {
  local dir=$1 version=$2 busybox=$3 tree=$1/initrd
  mkdir -p "$tree"/{bin,dev,proc,sys,host,rw,root,modules}
  cp "$busybox" "$tree/bin/busybox"
  ln -s busybox "$tree/bin/sh"
  add_modules "$tree" "$dir" "$version" '' virtio_pci virtio_console 9pnet_virtio 9p overlay
  [[ -s $tree/modules/order ]] || die "found no modules in '$dir'; is kmod too old for their packing?"
  (cd "$tree" && find . | busybox cpio -o -H newc 2>/dev/null) >"$dir/initrd.cpio"
  rm -rf "$tree"
}

# Where a kernel is: kernel_dir KERNEL ARCH
kernel_dir() {
  if [[ $2 == amd64 ]]; then echo "$cache/kernel-$1"; else echo "$cache/kernel-$1-$2"; fi
}

prepare_kernel() {
  local key=$1 arch=$2 into tmp version image
  into=$(kernel_dir "$key" "$arch") tmp=$into.tmp
  say "fetching Debian's kernel $key (${suite_of[$key]}, $arch), once"
  rm -rf "$tmp"
  mkdir -p "$tmp"
  unpack_from "$tmp" "${suite_of[$key]}" pick_kernel "$arch"
  mkdir -p "$tmp"/{,usr/}lib # the tools differ in where they look
  [[ -e $tmp/lib/modules ]] || ln -s ../usr/lib/modules "$tmp/lib/modules"
  [[ -e $tmp/usr/lib/modules ]] || ln -s ../../lib/modules "$tmp/usr/lib/modules"
  version=$(ls "$tmp/lib/modules")
  [[ ! -e $tmp/boot/config-$version ]] || mv "$tmp/boot/config-$version" "$tmp/lib/modules/$version/config"
  depmod -b "$tmp" "$version" 2>/dev/null
  for image in "$tmp/boot/vmlinuz-$version" "$tmp/lib/modules/$version/vmlinuz"; do
    [[ ! -e $image ]] || mv "$image" "$tmp/vmlinuz"
  done
  if [[ $arch == arm64 ]]; then
    make_initrd "$tmp" "$version" "$(arm64_dir)/bin/busybox"
  else
    extract_vmlinux "$tmp/vmlinuz" "$tmp/vmlinux"
    make_initrd "$tmp" "$version" "$(command -v busybox)"
  fi
  printf '%s\n' "$version" >"$tmp/version"
  rm -rf "${tmp:?}"/{boot,usr/share}
  mv "$tmp" "$into"
}

prepare_virtme() {
  local tmp=$cache/virtme.tmp
  rm -rf "$tmp"
  mkdir -p "$tmp"
  unpack_from "$tmp" trixie pick_virtme
  mv "$tmp" "$cache/virtme"
}

# Which Debian --systemd boots: this machine's, as what was built here runs there.
debian_release() (
  . /etc/os-release
  if [[ ${ID-} == debian && -n ${VERSION_CODENAME-} ]]; then echo "$VERSION_CODENAME"; else echo bookworm; fi
)

# Where the Debian of --systemd is; the number goes up when there is to be more in it.
systemd_dir() { echo "$cache/systemd-$release-2"; }

# Makes sure that it is there.
prepare_systemd() {
  local into tmp=$cache/systemd.tmp dir=$cache/apt.systemd keyring log
  into=$(systemd_dir)
  [[ ! -d $into ]] || return 0
  mkdir -p "$cache"
  (
    flock 9
    [[ ! -d $into ]] || exit 0
    ((EUID == 0)) || die "cannot make a Debian for --systemd: run scripts/vm --systemd --fetch as root"
    "$root/scripts/deps" systemd
    say "making a Debian ($release) with systemd, once"
    rm -rf "$tmp" "$dir"
    mkdir -p "$dir"
    keyring=$(debian_keyring)
    apt-config dump Acquire >"$dir/acquire"
    # libfmt-dev, as the library's own package is called otherwise in each release. The others of our package, which
    # is installed there without a network, have or provide these names.
    log=$(mmdebstrap --quiet --mode=root --variant=minbase --aptopt="$dir/acquire" \
      --include=systemd-sysv,udev,kmod,dbus,procps,libfmt-dev,libbpf1,libmicrohttpd12,libncursesw6 "$release" "$tmp" \
      "deb [arch=amd64 signed-by=$keyring] $(debian_mirror) $release main" 2>&1) ||
      die "mmdebstrap failed: $log"
    rm -rf "$dir" "${tmp:?}"/var/cache/apt/archives/*.deb "${tmp:?}"/var/lib/apt/lists/*
    mv "$tmp" "$into"
  ) 9>"$cache/lock"
}

pick_qemu() { printf '%s\n' "${qemu_of[$guest]}" qemu-system-data qemu-system-common seabios; }

declare -A qemu_of=([amd64]=qemu-system-x86 [arm64]=qemu-system-arm)

# Where a newer QEMU for `$1` is, if there has to be one.
qemu_dir() {
  if [[ $1 == amd64 ]]; then echo "$cache/qemu"; else echo "$cache/qemu-$1"; fi
}

# QEMU before 8.1 can go on for ever with an instruction it translated while another CPU was writing it:
# a breakpoint of the kernel's, as it patches its own text. Debian 12 has 7.2, and 10.0 in its
# backports, which runs with the libraries of 7.2.
needs_newer_qemu() {
  [[ $(. /etc/os-release && echo "$VERSION_CODENAME") == bookworm && ! -d $(qemu_dir "$1") ]] &&
    dpkg --compare-versions "$(dpkg-query -W -f '${Version}' "${qemu_of[$1]}")" lt 1:8.1
}

prepare_qemu() {
  local guest=$1 into tmp
  into=$(qemu_dir "$guest") tmp=$into.tmp
  say "fetching a newer QEMU (bookworm-backports, for $guest), once"
  rm -rf "$tmp"
  mkdir -p "$tmp"
  unpack_from "$tmp" bookworm-backports pick_qemu
  mv "$tmp" "$into"
}

# Makes sure that the kernel $1 for $2, virtme-ng and their tools are there; of several callers the first
# does the work.
prepare() {
  local kernel=$1 arch=$2 tool tools=1 emulator=qemu-system-x86_64
  [[ $arch == amd64 ]] || emulator=qemu-system-aarch64
  for tool in "$emulator" busybox file /usr/bin/python3; do
    command -v "$tool" >/dev/null || tools=
  done
  [[ $arch == amd64 ]] || prepare_arm64
  [[ -z $tools || ! -d $cache/virtme || ! -d $(kernel_dir "$kernel" "$arch") ]] ||
    needs_newer_qemu "$arch" || return 0
  mkdir -p "$cache"
  (
    flock 9
    "$root/scripts/deps" vm
    [[ $arch == amd64 ]] || "$root/scripts/deps" arm64
    [[ -d $cache/virtme ]] || prepare_virtme
    ! needs_newer_qemu "$arch" || prepare_qemu "$arch"
    [[ -d $(kernel_dir "$kernel" "$arch") ]] || prepare_kernel "$kernel" "$arch"
  ) 9>"$cache/lock"
}
