#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# kubectl with the rights of an administrator. usage: kubectl.sh arguments...
set -euo pipefail
. "$(dirname "$0")/lib.sh"
kc "$@"
