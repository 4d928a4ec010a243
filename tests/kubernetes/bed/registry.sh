#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Starts the registry in the control plane's namespace and fills it with the images of images.py.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
mkdir -p "$work/registry"
put "$work/conf/registry.yml" <<Y
version: 0.1
log: {level: error, accesslog: {disabled: true}}
storage: {filesystem: {rootdirectory: "$work/registry"}, delete: {enabled: true}}
http: {addr: "$net.1:5000"}
Y
# What containerd does with every image of every registry: it asks this one, and nothing else.
mkdir -p "$work/conf/certs.d/_default"
put "$work/conf/certs.d/_default/hosts.toml" <<T
server = "$registry"
[host."$registry"]
  capabilities = ["pull", "resolve"]
T
"$here/unpack.sh"
spawn registry nsenter --net="/run/netns/$cpns" "$work/debian/usr/bin/docker-registry" serve "$work/conf/registry.yml"
wait_for 20 "registry answers" in_cp curl -sf "$registry/v2/"
in_cp python3 "$here/images.py" "$work" "$registry"
