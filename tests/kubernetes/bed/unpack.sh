#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Unpacks Debian's runtime, registry, and what images are made of, into the work directory. Installed, some would start
# services.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
programs=(containerd containerd-shim-runc-v2 ctr docker-registry)
packages=(
  containerd runc containernetworking-plugins docker-registry nginx nginx-common redis-tools
  libc6 libgcc-s1 libcrypt1 libpcre2-8-0 libssl3 zlib1g                                      # what nginx loads
  libstdc++6 libatomic1 libjemalloc2 liblzf1 libsystemd0 libcap2 libgcrypt20 libgpg-error0   # what redis loads
  liblz4-1 liblzma5 libzstd1
)
wanted=${packages[*]}
[ "$(cat "$work/debian/.packages" 2>/dev/null)" != "$wanted" ] || exit 0
rm -rf "$work/debian"
mkdir -p "$work/debian/archives"
cd "$work/debian/archives"
apt-get -qq -o APT::Sandbox::User=root download "${packages[@]}"
for archive in *.deb; do dpkg-deb --extract "$archive" ..; done
rm -r "$work/debian/archives"
for program in "${programs[@]}"; do ln -sf "../debian/usr/bin/$program" "$work/bin/$program"; done
ln -sf ../debian/usr/sbin/runc "$work/bin/runc"
echo "$wanted" >"$work/debian/.packages"
