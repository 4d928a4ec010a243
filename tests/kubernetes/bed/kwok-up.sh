#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Starts kwok: it plays the kubelet of every node labelled type=kwok.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
"$here/build.sh" kwok
stages=$(cat "$work/conf/kwok-sources")/kustomize/stage
for stage in node/fast/node-initialize node/heartbeat-with-lease/node-heartbeat-with-lease pod/fast/pod-{ready,complete,delete}; do
  echo ---
  cat "$stages/$stage.yaml"
done >"$work/conf/kwok.yaml"
spawn kwok nsenter --net="/run/netns/$cpns" "$work/bin/kwok" --kubeconfig="$work/conf/admin.conf" \
  --config="$work/conf/kwok.yaml" --manage-all-nodes=false --manage-nodes-with-label-selector=type=kwok \
  --cidr=10.128.0.0/12 --node-ip="$net.1" --server-address=127.0.0.1:10247 --node-lease-duration-seconds=240 --v=WARN
wait_for 20 "kwok healthy" in_cp curl -sf http://127.0.0.1:10247/healthz
