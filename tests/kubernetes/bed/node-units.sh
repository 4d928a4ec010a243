#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Run on a node before anything starts pods: does what systemd would do with the units that were installed there.
set -euo pipefail
shopt -s nullglob
for unit in /etc/systemd/system/multi-user.target.wants/*.service; do
  condition=$(sed -n 's/^ConditionPathExists=//p' "$unit")
  [ -z "$condition" ] || [ -e "$condition" ] || continue
  while IFS= read -r line; do
    case $line in
      ExecCondition=*) bash -c "${line#*=}" || continue 2 ;;
      ExecStart=-*) bash -c "${line#*=-}" || true ;;
      ExecStart*=*) bash -c "${line#*=}" ;;
    esac
  done <"$unit"
  echo "started $(basename "$unit")"
done
