#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Puts CoreDNS into the cluster. The names it knows outside of the cluster are those that recipes of policies use.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
sed "s#DNS_ADDRESS#$svcnet.10#; s#OUTSIDE_ADDRESS#$outside#" "$here/dns.yaml" | kc apply -f - >/dev/null
wait_for 90 "CoreDNS available" kc -n kube-system rollout status deployment/coredns --timeout=1s
