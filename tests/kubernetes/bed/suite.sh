#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Runs Kubernetes' own NetworkPolicy tests. usage: suite.sh REPORT_DIRECTORY [FOCUS] [further flags of the suite...]
# SCTPConnectivity is left out: it needs SCTP in the kernel.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
report=$1 focus=${2:-Netpol}
shift $(($# > 2 ? 2 : $#))
# Where the suite's images are; any name will do, since the nodes ask their registry for every one.
export KUBE_TEST_REPO_LIST=$work/conf/suite-images.yaml
echo "promoterE2eRegistry: bed.test/e2e-test-images" >"$KUBE_TEST_REPO_LIST"
exec > >(tee "$work/log/suite.log")
exec nsenter --net="/run/netns/$cpns" "$work/bin/netpol.test" --ginkgo.focus="$focus" --ginkgo.skip=SCTPConnectivity \
  --ginkgo.no-color --kubeconfig="$work/conf/admin.conf" --provider=skeleton --report-dir="$report" \
  --dump-logs-on-failure=false "$@"
