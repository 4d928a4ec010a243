#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Boots node nI: every process and the kernel's rules are gone, its disk and its Node stay. usage: node-reboot.sh I
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
export PODFENCE_BED_KEEP=1
"$here/node-down.sh" "$1"
"$here/node-up.sh" "$1"
