# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash disable=SC2034
# Sourced by the other scripts: where things are, and how processes are started, found and ended.
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
work=${PODFENCE_BED:-${XDG_CACHE_HOME:-$HOME/.cache}/podfence-bed}
mkdir -p "$work"/{bin,log,run,pki,conf}
work=$(cd "$work" && pwd)
export PATH=$work/bin:$PATH:/usr/local/go/bin:/usr/sbin:/sbin

# A bed keeps the addresses it was started with, so that afterwards its directory is enough to find it.
# shellcheck source=/dev/null
[ ! -f "$work/conf/settings" ] || . "$work/conf/settings"
cpns=${PODFENCE_BED_NAME:-podfence-bed} # network namespace of the control plane; cgroups are named after it
net=${PODFENCE_BED_NET:-10.200.0}       # the network of the nodes: .1 is the control plane, .11 is node n1
podnet=${PODFENCE_BED_PODNET:-10.244}   # node nI has $podnet.I.0/24
svcnet=${PODFENCE_BED_SVCNET:-10.96.0}  # .1 is the API server, .10 is the DNS
# The same of IPv6; beds do not see each other, so all have these.
net6=fd00:10:200:                        # followed by :1 it is the control plane, by :11 node n1
podnet6=fd00:10:244                     # node nI has $podnet6:I::/64
svcnet6=fd00:10:96
outside=203.0.113.80                    # an address that stands for all outside of the cluster, on port 80
nodes="1 2 3"                           # the nodes that get certificates and routes, started or not
server=https://$net.1:6443
registry=http://$net.1:5000
cgroups="cpu cpuacct cpuset memory devices freezer blkio pids systemd"

kc() { nsenter --net="/run/netns/$cpns" "$work/bin/kubectl" --kubeconfig "$work/conf/admin.conf" "$@"; }
in_cp() { nsenter --net="/run/netns/$cpns" "$@"; }

alive() { # name: does that process run?
  local pid
  pid=$(cat "$work/run/$1.pid" 2>/dev/null) && [ -n "$pid" ] && [ -d "/proc/$pid" ]
}
spawn() { # name command...: starts it once, in a session of its own, with its log and process id kept
  local name=$1
  shift
  alive "$name" && return 0
  setsid nohup "$@" >>"$work/log/$name.log" 2>&1 </dev/null &
  echo $! >"$work/run/$name.pid"
}
spawn_in_node() { # name command...: as spawn, on node number $i; the process id kept is the program's own
  local name=$1 pid=
  shift
  ! alive "$name" || return 0
  spawn "$name" "$here/node-exec.sh" "$i" "$@"
  until pid=$(pgrep -P "$(cat "$work/run/$name.pid")"); do
    alive "$name" || { echo "$name did not start: see $work/log/$name.log" >&2; return 1; }
    sleep 0.05
  done
  echo "$pid" >"$work/run/$name.pid"
}
stop() { # name: ends it and waits until it is gone
  local pid
  pid=$(cat "$work/run/$1.pid" 2>/dev/null) || return 0
  kill -TERM "$pid" 2>/dev/null || true
  for _ in $(seq 100); do
    [ -d "/proc/$pid" ] || break
    sleep 0.1
  done
  kill -KILL "$pid" 2>/dev/null || true
  rm -f "$work/run/$1.pid"
}
put() { # file: writes what comes there unless it already holds just that
  local new
  new=$(mktemp "$1.XXXX")
  cat >"$new"
  if cmp -s "$new" "$1"; then rm "$new"; else mv "$new" "$1"; fi
}
since() { awk -v a="$1" -v b="$EPOCHREALTIME" 'BEGIN { printf "%.1f", b - a }'; }
wait_for() { # seconds what command...: polls until the command succeeds
  local limit=$1 what=$2 start=$EPOCHREALTIME end=$((SECONDS + $1))
  shift 2
  until "$@" >/dev/null 2>&1; do
    if [ "$SECONDS" -ge "$end" ]; then
      echo "gave up after $limit s on: $what (logs are in $work/log)" >&2
      return 1
    fi
    sleep 0.2
  done
  echo "$what: $(since "$start") s"
}
