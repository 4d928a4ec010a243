#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Boot systemd as process 1 of namespaces of its own, with this machine's programs and units of its own.
# usage: systemd.sh FOLDER CGROUP; of FOLDER, units goes to /etc/systemd/system, state to /var/lib/podfence, and out is
# /out there. CGROUP is the name of a control group of v1 in each hierarchy, so that systemd touches no other one.
set -eu
folder=$1
group=$2
if [ "${3:-}" != inside ]; then
  # At once, for it changes with each step.
  mapfile -t groups </proc/self/cgroup
  for line in "${groups[@]}"; do
    IFS=: read -r _ hierarchy own <<<"$line"
    place=/sys/fs/cgroup/${hierarchy#name=}
    [ -n "$hierarchy" ] || place=/sys/fs/cgroup/unified
    # Whoever is in one of these needs settings that a new one has not.
    case $hierarchy in *cpuset*) continue ;; esac
    mkdir "$place${own%/}/$group"
    echo "$place${own%/}/$group" >>"$folder/cgroups"
    echo $$ >"$place${own%/}/$group/cgroup.procs"
  done
  exec unshare --mount --pid --net --uts --ipc --cgroup --fork --kill-child=KILL bash "$0" "$folder" "$group" inside
fi
root=$folder/root
mount --make-rprivate /
mkdir "$root"
mount -t tmpfs tmpfs "$root"
mkdir -p "$root"/{usr,etc/systemd/system,proc,sys,dev,run,tmp,out,old,var/lib/podfence,var/log}
mount --rbind /usr "$root/usr"
for name in bin sbin lib lib64; do ln -s "usr/$name" "$root/$name"; done
echo ID=test >"$root/etc/os-release"
echo 0123456789abcdef0123456789abcdef >"$root/etc/machine-id"
cp /etc/passwd /etc/group /etc/ld.so.cache "$root/etc/"
cp -a "$folder/units/." "$root/etc/systemd/system/"
cp -a "$folder/state/." "$root/var/lib/podfence/"
mount --bind "$folder/out" "$root/out"
mount -t proc proc "$root/proc"
mount -t sysfs sysfs "$root/sys"
mount -t tmpfs -o mode=755 tmpfs "$root/sys/fs/cgroup"
mkdir "$root/sys/fs/cgroup/systemd"
mount -t cgroup -o none,name=systemd,xattr cgroup "$root/sys/fs/cgroup/systemd"
mount -t tmpfs -o mode=755 tmpfs "$root/dev"
for name in null zero full random urandom tty; do
  touch "$root/dev/$name"
  mount --bind "/dev/$name" "$root/dev/$name"
done
ln -s /proc/self/fd "$root/dev/fd"
mount -t tmpfs tmpfs "$root/run"
cd "$root"
pivot_root . old
umount -l /old
exec env -i container=test PATH=/usr/sbin:/usr/bin:/sbin:/bin \
  /lib/systemd/systemd --system --unit=multi-user.target --log-target=console --show-status=no
