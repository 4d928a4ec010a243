#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Ends the nodes and the control plane and deletes the cluster's data; what was built, and the registry's images, stay.
set -uo pipefail
. "$(dirname "$0")/lib.sh"
trap '' INT TERM # what is begun here must be done to its end
for file in "$work"/run/node-n*.pid; do
  [ -e "$file" ] || continue
  name=$(basename "$file" .pid)
  "$here/node-down.sh" "${name#node-n}"
done
for name in kwok outside kube-scheduler kube-controller-manager kube-apiserver etcd registry; do stop "$name"; done
[ ! -e "/run/netns/$cpns" ] || ip netns del "$cpns"
if [ -f "$work/conf/sysctl.saved" ]; then
  sysctl -qp "$work/conf/sysctl.saved"
  rm "$work/conf/sysctl.saved"
fi
rm -rf "$work/etcd" "$work/conf/settings"
