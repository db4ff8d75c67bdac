#!/usr/bin/env bash
# Apptainer and debootstrap for the tests, on Debian 12, as root; again does no harm. A machine that
# has Apptainer keeps it. Debian 12 has no package of it, so a later Debian's goes to /opt/apptainer,
# beside that Debian's C library; nothing of the system itself is replaced.
set -euo pipefail
home=/opt/apptainer
export DEBIAN_FRONTEND=noninteractive

# Wait for another apt, such as the system's own at boot: apt itself waits for dpkg's lock alone, not
# for that of the package lists.
patiently() {
  local try said
  for try in {1..300}; do
    if said=$(apt-get -qq -o DPkg::Lock::Timeout=300 "$@" 2>&1 >/dev/null); then return; fi
    [[ $said == *"Could not get lock"* ]] || break
    sleep 1
  done
  echo "$said" >&2
  return 1
}

tools=(debootstrap squashfs-tools squashfuse fuse3 uidmap libseccomp2 patchelf)
if ! dpkg-query --show "${tools[@]}" &>/dev/null; then
  patiently update
  patiently install --yes --no-install-recommends "${tools[@]}"
fi
if command -v apptainer >/dev/null; then
  apptainer --version
  exit
fi

work=$(mktemp --directory)
trap 'rm -rf "$work"' EXIT
chmod 755 "$work"

# An apt of its own that knows later Debians, from the mirror that the machine's apt uses.
mirror=$("$(dirname "$0")/../containers/mirror.sh")
mkdir -p "$work"/{lists/partial,archives/partial,debs,app,libc}
for suite in trixie sid; do
  echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror $suite main"
done >"$work/sources.list"
later=(apt-get -qq -o "Dir::Etc::SourceList=$work/sources.list" -o Dir::Etc::SourceParts=/dev/null
  -o "Dir::State::Lists=$work/lists" -o "Dir::Cache=$work" -o APT::Sandbox::User=root)
"${later[@]}" update
(cd "$work/debs" && "${later[@]}" download apptainer libc6/trixie)
dpkg-deb --extract "$work"/debs/apptainer_*.deb "$work/app"
dpkg-deb --extract "$work"/debs/libc6_*.deb "$work/libc"

# Its parts are looked for from where the binaries lie: from bin/ that is $home, from
# lib/TRIPLET/apptainer/bin/ it is $home/lib.
rm -rf "$home"
mkdir -p "$home/var/lib/apptainer/mnt/session"
cp -a "$work/app/usr/." "$home/"
cp -a "$work/app/etc" "$home/etc"
ln -s ../etc ../var "$home/lib/"
ln -s . "$home/lib/lib"

starter=$(echo "$home"/lib/*/apptainer/bin/starter)
triplet=$(basename "${starter%/apptainer/bin/starter}")
mkdir "$home/libc"
cp -a "$work/libc/usr/lib/$triplet"/*.so* "$home/libc/"
for binary in "$home/bin/apptainer" "$starter"; do
  # RPATH: apptainer calls its starter with an LD_LIBRARY_PATH, which RUNPATH would yield to.
  patchelf --set-interpreter "$home/libc/ld-linux-x86-64.so.2" \
    --force-rpath --set-rpath "$home/libc" "$binary"
done

# For root it asks for every capability of the kernel, and stops where the machine withholds one:
# these are named to be dropped. It calls itself as bin/apptainer, and looks for its parts by name.
mkdir "$home/real"
mv "$home/bin/apptainer" "$home/real/apptainer"
cat >"$home/bin/apptainer" <<'WRAPPER'
#!/usr/bin/env bash
bounding=$((16#$(awk '/^CapBnd/ {print $2}' /proc/self/status)))
withheld=
names=(chown dac_override dac_read_search fowner fsetid kill setgid setuid setpcap linux_immutable
  net_bind_service net_broadcast net_admin net_raw ipc_lock ipc_owner sys_module sys_rawio sys_chroot
  sys_ptrace sys_pacct sys_admin sys_boot sys_nice sys_resource sys_time sys_tty_config mknod lease
  audit_write audit_control setfcap mac_override mac_admin syslog wake_alarm block_suspend audit_read
  perfmon bpf checkpoint_restore)
for number in "${!names[@]}"; do
  ((bounding >> number & 1)) || withheld+="${withheld:+,}CAP_${names[number]^^}"
done
if [[ $EUID = 0 && $withheld ]]; then export APPTAINER_DROP_CAPS=${APPTAINER_DROP_CAPS:-$withheld}; fi
exec /opt/apptainer/real/apptainer "$@"
WRAPPER
chmod 755 "$home/bin/apptainer"
ln -sf "$home/bin/apptainer" /usr/local/bin/apptainer
if [[ -c /dev/fuse ]]; then chmod 666 /dev/fuse; fi
apptainer --version
