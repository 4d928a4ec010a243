#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Builds BusyBox out of Debian's sources, with Debian's options and those that recipes of policies use (wget --timeout, nc -v),
# and with musl, as the images do that people know: what it says of names and timeouts is then the same.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
[ ! -x "$work/bin/busybox" ] || exit 0
sources=$work/busybox
rm -rf "$sources"
mkdir -p "$sources"/{lists/partial,parts}
# The machine's own sources of packages, as sources of source packages, without changing them.
for file in /etc/apt/sources.list.d/*.sources; do
  [ ! -e "$file" ] || sed 's/^Types:.*/Types: deb-src/' "$file" >"$sources/parts/$(basename "$file")"
done
for file in /etc/apt/sources.list /etc/apt/sources.list.d/*.list; do
  [ ! -e "$file" ] || sed -n 's/^deb /deb-src /p' "$file" >"$sources/parts/$(basename "$file" .list).list"
done
apt=(apt-get -q -o APT::Sandbox::User=root -o Dir::Etc::SourceList="$sources/none" -o Dir::Etc::SourceParts="$sources/parts"
  -o Dir::State::Lists="$sources/lists")
touch "$sources/none"
"${apt[@]}" update
cd "$sources"
"${apt[@]}" source busybox
cd busybox-*/
cp debian/config/pkg/deb .config
choose() { # option y|n
  sed -i "s/.*CONFIG_$1[ =].*/CONFIG_$1=$2/" .config
}
choose FEATURE_WGET_TIMEOUT y
choose NC_110_COMPAT y
choose EXTRA_COMPAT n # these two need regular expressions of glibc
choose FEATURE_VI_REGEX_SEARCH n
{ yes '' || true; } | make oldconfig >/dev/null # the default for what these options bring with them
# The headers of the kernel, after those of musl.
compiler="musl-gcc -static -idirafter /usr/include -idirafter /usr/include/$(gcc -print-multiarch)"
nice make -j"$(nproc)" HOSTCC=gcc CC="$compiler" busybox >"$work/log/busybox.log" 2>&1 || {
  tail "$work/log/busybox.log" >&2
  exit 1
}
cp busybox "$work/bin/busybox"
rm -rf "$sources"
