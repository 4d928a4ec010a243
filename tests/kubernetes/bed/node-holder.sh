#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The first process of a node: mounts what a node has, then holds its namespaces open. usage: node-holder.sh STATE NAME CNI-PLUGINS
set -e
state=$1 name=$2 plugins=$3
mount --make-rprivate /
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t tmpfs -o mode=755 tmpfs /sys/fs/cgroup
for c in cpu cpuacct cpuset memory devices freezer blkio pids; do
  mkdir "/sys/fs/cgroup/$c"
  mount -t cgroup -o "$c" cgroup "/sys/fs/cgroup/$c"
done
mkdir /sys/fs/cgroup/systemd
mount -t cgroup -o none,name=systemd cgroup /sys/fs/cgroup/systemd
mount -t tmpfs -o mode=755 tmpfs /run
mkdir /run/lock
# What programs of a node write under these paths goes to the node's own directory.
for path in /var/lib/kubelet /var/lib/containerd /var/lib/cni /var/lib/podfence /var/log/pods /var/log/containers /etc/cni/net.d \
  /etc/systemd/system; do
  mkdir -p "$path" "$state$path"
  mount --bind "$state$path" "$path"
done
mkdir -p /opt/cni/bin
mount --bind "$plugins" /opt/cni/bin
mount --make-rshared /
hostname "$name"
ip link set lo up
trap 'exit 0' TERM
touch "$state/ready"
while :; do
  sleep 3600 &
  wait $! || true
done
