#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Ends node nI with every process on it, and deletes what it kept. usage: node-down.sh I      PODFENCE_BED_KEEP=1: but its disk
set -uo pipefail
. "$(dirname "$0")/lib.sh"
n=n$1
for name in "$n-kubelet" "$n-kube-proxy" "$n-containerd"; do stop "$name"; done
# With the first process of a pid namespace ends all that is left in it.
[ ! -f "$work/run/$n.holder" ] || kill -KILL "$(cat "$work/run/$n.holder")" 2>/dev/null
rm -f "$work/run/$n.holder"
stop "node-$n"
ip -n "$cpns" link del "v$n" 2>/dev/null
for c in $cgroups; do
  group=/sys/fs/cgroup/$c/testbed-$cpns-$n
  for _ in $(seq 50); do # a group is busy until the last of its processes is gone
    [ -d "$group" ] || break
    find "$group" -depth -type d -exec rmdir {} + 2>/dev/null
    [ ! -d "$group" ] || sleep 0.1
  done
done
[ -n "${PODFENCE_BED_KEEP:-}" ] || rm -rf "${work:?}/$n"
