# SPDX-License-Identifier: Apache-2.0
"""Whoever writes an object to a lab is told what the lab does not do of it."""

from __future__ import annotations

from typing import Any

import pytest

from podfence.lab.addresses import Plan
from podfence.lab.objects.limits import limits
from podfence.lab.objects.world import World
from tests.lab.apiserver.serving import served

NODES = {"node-1": {"disk": "ssd"}, "node-2": {}}


def pod(**spec: object) -> dict[str, Any]:
    return {"kind": "Pod", "spec": {"containers": [{"name": "main"}], **spec}}


@pytest.mark.parametrize(
    ("obj", "told"),
    [
        (pod(), []),
        (pod(initContainers=[{"name": "a"}]), ["the lab does not run init container a"]),
        (pod(initContainers=[{"name": "a", "restartPolicy": "Always"}]), []),
        (
            pod(containers=[{"name": "a", "env": [{"name": "A", "valueFrom": {}}, {"name": "B", "value": "b"}]}]),
            ["container a runs without A: the lab sets only plain values of env"],
        ),
        (pod(containers=[{"name": "a", "envFrom": [{}]}]), ["container a runs without the variables of envFrom"]),
        (
            pod(dnsConfig={"nameservers": ["1.1.1.1", "8.8.8.8"]}),
            ["the lab uses only the first nameserver of dnsConfig"],
        ),
        (pod(nodeName="node-9"), ["the lab has no node node-9, so any node runs it"]),
        (pod(nodeSelector={"disk": "ssd"}), []),
        (pod(nodeSelector={"disk": "x"}), ["no node of the lab has the labels disk=x, so any node runs it"]),
        ({"kind": "Deployment", "spec": {"template": pod(initContainers=[{"name": "a"}])}},
         ["the lab does not run init container a"]),
        ({"kind": "CronJob", "spec": {}}, ["the lab keeps no time: a CronJob starts no Jobs"]),
        ({"kind": "Service", "spec": {"type": "LoadBalancer"}},
         ["the lab has no load balancer; from outside, use the node port"]),
        ({"kind": "Service", "spec": {"sessionAffinity": "ClientIP", "internalTrafficPolicy": "Local"}},
         ["the lab has no session affinity: each connection goes to a random backend",
          "the lab has no internalTrafficPolicy: connections go to backends on all nodes"]),
        ({"kind": "Service", "spec": {"type": "NodePort", "sessionAffinity": "None"}}, []),
        ({"kind": "ConfigMap"}, []),
        ({"kind": "Event"}, []),
        # What validation lets through.
        (pod(containers=[None, {"env": [None, {"valueFrom": {}}]}]),
         ["container None runs without None: the lab sets only plain values of env"]),
        ({"kind": "Job", "spec": {"template": None}}, []),
    ],
)  # fmt: skip
def test_what_a_lab_does_not_do_is_told(obj: dict[str, Any], told: list[str]) -> None:
    assert list(limits(obj, NODES)) == told


def test_a_request_is_warned_once_of_what_it_asks_for() -> None:
    place = "/api/v1/namespaces/default/services"
    body = {"metadata": {"name": "s"}, "spec": {"type": "LoadBalancer", "ports": [{"port": 80}]}}
    merge = {"Content-Type": "application/merge-patch+json"}
    with served(World(Plan(), 1).store, as_lab=True) as server:
        created = server.client.send("POST", place, body)
        labeled = server.client.send("PATCH", f"{place}/s", {"metadata": {"labels": {"a": "b"}}}, headers=merge)
    assert (created.code, labeled.code) == (201, 200)
    assert created.warnings == ['299 - "the lab has no load balancer; from outside, use the node port"']
    assert labeled.warnings == []
