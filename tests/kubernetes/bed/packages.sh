#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Installs the Debian packages that the scripts and the nodes use; without root it names them. None starts a service.
set -euo pipefail
packages=(
  bzip2 conntrack curl dpkg-dev gcc iproute2 ipset iptables jq kmod libc6-dev libseccomp2 linux-libc-dev make musl-tools
  nftables openssl patch procps python3-minimal socat tcpdump util-linux
  buildah mmdebstrap # build the image of podfence
)
missing=()
for package in "${packages[@]}"; do
  [ "$(dpkg-query --show --showformat '${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || missing+=("$package")
done
[ "${#missing[@]}" -gt 0 ] || exit 0
if [ "$(id -u)" -ne 0 ]; then
  echo "Packages are missing; as root: apt-get install ${missing[*]}" >&2
  exit 1
fi
export DEBIAN_FRONTEND=noninteractive
apt-get update -q
apt-get install -y -q --no-install-recommends "${missing[@]}"
