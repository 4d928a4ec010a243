#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Runs a command as root on node nI, in its cgroup and all its namespaces; files are this machine's. usage: node-exec.sh I command...
set -euo pipefail
. "$(dirname "$0")/lib.sh"
i=$1
shift
for c in $cgroups; do echo $$ >"/sys/fs/cgroup/$c/testbed-$cpns-n$i/cgroup.procs"; done
exec nsenter -t "$(cat "$work/run/n$i.holder")" --cgroup --mount --net --pid --ipc --uts -- "$@"
