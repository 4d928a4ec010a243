#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Starts node nI: network, mount, pid, ipc, uts and cgroup namespaces, and in them containerd, kubelet and kube-proxy.
# usage: node-up.sh I      PODFENCE_BED_CNI=bridge|ptp   PODFENCE_BED_PROXY=nftables|iptables   PODFENCE_BED_FAMILIES=single|dual
#        PODFENCE_BED_TAINTS=KEY=VALUE:EFFECT,...   taints that a new Node gets
set -euo pipefail
. "$(dirname "$0")/lib.sh"
i=$1 n=n$1 state=$work/n$1
cni=${PODFENCE_BED_CNI:-bridge} proxy=${PODFENCE_BED_PROXY:-nftables} families=${PODFENCE_BED_FAMILIES:-single}
start=$EPOCHREALTIME

if [ ! -d /sys/fs/cgroup/memory ]; then
  echo "The nodes need cgroup v1 (kernel parameter systemd.unified_cgroup_hierarchy=0); this machine has v2 only." >&2
  exit 1
fi
# The kubelet sets some of these for the whole machine, and the limits of neighbours are set below; down.sh puts all back.
[ -f "$work/conf/sysctl.saved" ] || sysctl vm.overcommit_memory vm.panic_on_oom kernel.panic kernel.panic_on_oops \
  kernel.keys.root_maxkeys kernel.keys.root_maxbytes net.ipv{4,6}.neigh.default.gc_thresh{2,3} \
  >"$work/conf/sysctl.saved" 2>/dev/null || true
# All network namespaces of a machine share one table of neighbours. While it is full, packets to new neighbours are lost,
# on every node of this bed and in everything else that runs on the machine.
for limit in net.ipv{4,6}.neigh.default.gc_thresh{2=8192,3=16384}; do
  [ "$(sysctl -n "${limit%=*}")" -ge "${limit#*=}" ] || sysctl -qw "$limit"
done

# --- the namespaces: their first process starts in cgroups of the node's own, which a cgroup namespace then shows as the root
if ! alive "node-$n"; then
  [ -n "${PODFENCE_BED_KEEP:-}" ] || rm -rf "$state"
  rm -f "$state/ready"
  mkdir -p "$state"
  for c in $cgroups; do
    group=/sys/fs/cgroup/$c/testbed-$cpns-$n
    mkdir -p "$group"
    if [ "$c" = cpuset ]; then
      cat /sys/fs/cgroup/cpuset/cpuset.cpus >"$group/cpuset.cpus"
      cat /sys/fs/cgroup/cpuset/cpuset.mems >"$group/cpuset.mems"
      echo 1 >"$group/cgroup.clone_children"
    elif [ "$c" = memory ]; then
      echo 1 >"$group/memory.use_hierarchy" 2>/dev/null || true
    fi
  done
  # shellcheck disable=SC2016 # expanded by the inner shell
  spawn "node-$n" bash -c '
    for c in $1; do echo $$ >"/sys/fs/cgroup/$c/$2/cgroup.procs"; done
    shift 2
    exec unshare --cgroup --mount --net --pid --ipc --uts --fork --kill-child=KILL --propagation private "$@"' \
    bash "$cgroups" "testbed-$cpns-$n" "$here/node-holder.sh" "$state" "$n" "$work/debian/usr/lib/cni"
  wait_for 10 "namespaces of $n" test -f "$state/ready"
fi
holder=$(pgrep -P "$(cat "$work/run/node-$n.pid")")
echo "$holder" >"$work/run/$n.holder"
in_node() { "$here/node-exec.sh" "$i" "$@"; }

# --- the network: eth0 in the node is a port of lan0 in the control plane's namespace
if ! in_node ip link show eth0 >/dev/null 2>&1; then
  ip -n "$cpns" link del "v$n" 2>/dev/null || true
  # Always the same address: the others keep it for a while when a node is made anew.
  ip -n "$cpns" link add "v$n" type veth peer name eth0 address "$(printf 02:00:00:00:00:%02x "$i")" netns "$holder"
  ip -n "$cpns" link set "v$n" master lan0 up
  in_node ip addr add "$net.1$i/24" dev eth0
  in_node ip addr add "$net6:1$i/64" dev eth0 nodad
  in_node ip link set eth0 up
  in_node ip route add default via "$net.1"
  in_node ip route add default via "$net6:1"
  ip -n "$cpns" route replace "$podnet.$i.0/24" via "$net.1$i"
  ip -n "$cpns" route replace "$podnet6:$i::/64" via "$net6:1$i"
  for other in $nodes; do
    [ "$other" != "$i" ] || continue
    in_node ip route replace "$podnet.$other.0/24" via "$net.1$other"
    in_node ip route replace "$podnet6:$other::/64" via "$net6:1$other"
  done
  in_node sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1 \
    net.bridge.bridge-nf-call-iptables=1 net.bridge.bridge-nf-call-ip6tables=1
fi

# --- what runs on it
ranges="[{\"subnet\": \"$podnet.$i.0/24\"}]" routes='{"dst": "0.0.0.0/0"}'
pod_cidrs="\"$podnet.$i.0/24\"" cluster_cidr=$podnet.0.0/16 addresses=$net.1$i
case $families in
  single) ;;
  dual)
    ranges+=", [{\"subnet\": \"$podnet6:$i::/64\"}]" routes+=', {"dst": "::/0"}'
    pod_cidrs+=", \"$podnet6:$i::/64\"" cluster_cidr+=,$podnet6::/48 addresses+=,$net6:1$i
    ;;
  *) echo "PODFENCE_BED_FAMILIES is single or dual, not $families" >&2; exit 2 ;;
esac
case $cni in
  bridge) plugin='"type": "bridge", "bridge": "cni0", "isGateway": true, "hairpinMode": true, "ipMasq": false' ;;
  ptp) plugin='"type": "ptp", "ipMasq": false' ;;
  *) echo "PODFENCE_BED_CNI is bridge or ptp, not $cni" >&2; exit 2 ;;
esac
cat >"$state/etc/cni/net.d/10-pods.conflist" <<J
{"cniVersion": "0.4.0", "name": "pods", "plugins": [
  {$plugin, "mtu": 1500,
   "ipam": {"type": "host-local", "ranges": [$ranges], "routes": [$routes]}},
  {"type": "portmap", "capabilities": {"portMappings": true}, "snat": true}]}
J
cat >"$state/containerd.toml" <<T
version = 2
root = "/var/lib/containerd"
state = "/run/containerd"
disabled_plugins = ["io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.zfs", "io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.devmapper"]
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "pause:1"
  max_concurrent_downloads = 1
  disable_apparmor = true
  restrict_oom_score_adj = true  # without CAP_SYS_RESOURCE a score cannot be lowered
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/opt/cni/bin"
    conf_dir = "/etc/cni/net.d"
  [plugins."io.containerd.grpc.v1.cri".registry]
    config_path = "$work/conf/certs.d"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
T
cat >"$state/kubelet.yaml" <<Y
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
authentication: {anonymous: {enabled: false}, webhook: {enabled: true}, x509: {clientCAFile: "$work/pki/ca.crt"}}
authorization: {mode: Webhook}
tlsCertFile: "$work/pki/$n.crt"
tlsPrivateKeyFile: "$work/pki/$n.key"
clusterDNS: ["$svcnet.10"]
clusterDomain: cluster.local
resolvConf: "$work/conf/resolv.conf"
containerRuntimeEndpoint: unix:///run/containerd/containerd.sock
cgroupDriver: cgroupfs
failCgroupV1: false
failSwapOn: false
maxPods: 250
serializeImagePulls: false
imageGCHighThresholdPercent: 100
imageGCLowThresholdPercent: 99
evictionHard: {memory.available: "100Mi", nodefs.available: "1%", imagefs.available: "1%", nodefs.inodesFree: "1%"}
syncFrequency: 10s
shutdownGracePeriod: 0s
Y
put "$state/kube-proxy.yaml" <<Y
apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
mode: $proxy
hostnameOverride: $n
clientConnection: {kubeconfig: "$work/conf/proxy.conf"}
clusterCIDR: "$cluster_cidr"
conntrack: {maxPerCore: 0, min: 0}
bindAddress: 0.0.0.0
Y
: >"$work/conf/resolv.conf" # no server: pods ask the cluster's, which knows no other names

in_node "$here/node-units.sh"
spawn_in_node "$n-containerd" "$work/bin/containerd" --config "$state/containerd.toml"
wait_for 30 "containerd on $n" in_node "$work/bin/ctr" version
kubelet_up() { # a kubelet ends if its runtime is not there yet, and is started again, as systemd would
  spawn_in_node "$n-kubelet" "$work/bin/kubelet" --config="$state/kubelet.yaml" --kubeconfig="$work/conf/$n.conf" \
    --hostname-override="$n" --node-ip="$addresses" \
    ${PODFENCE_BED_TAINTS:+"--register-with-taints=$PODFENCE_BED_TAINTS"} && in_node bash -c '</dev/tcp/127.0.0.1/10248'
}
wait_for 60 "kubelet on $n" kubelet_up
wait_for 60 "$n registered" kc get node "$n"
kc patch node "$n" -p "{\"spec\":{\"podCIDR\":\"$podnet.$i.0/24\",\"podCIDRs\":[$pod_cidrs]}}" >/dev/null
spawn_in_node "$n-kube-proxy" "$work/bin/kube-proxy" --config="$state/kube-proxy.yaml"
wait_for 60 "$n ready" kc wait --for=condition=Ready "node/$n" --timeout=1s
echo "node $n up with $cni, kube-proxy $proxy and addresses $addresses: $(since "$start") s"
