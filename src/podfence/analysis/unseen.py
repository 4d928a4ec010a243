# SPDX-License-Identifier: Apache-2.0
"""Pods that an input says nothing of: those that other controllers make, and labels that only they know."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from podfence.cluster.controllers import is_unknown
from podfence.cluster.selection import may_hold, requirements_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from podfence.cluster.state import ClusterState
    from podfence.policy.engine import Engine

_MAKERS: Final = frozenset(
    {
        "Alertmanager.monitoring.coreos.com",
        "Application.argoproj.io",
        "ApplicationSet.argoproj.io",
        "Cluster.postgresql.cnpg.io",
        "CronWorkflow.argoproj.io",
        "Elasticsearch.elasticsearch.k8s.elastic.co",
        "HelmChart.helm.cattle.io",
        "HelmRelease.helm.toolkit.fluxcd.io",
        "Kafka.kafka.strimzi.io",
        "KafkaConnect.kafka.strimzi.io",
        "KafkaNodePool.kafka.strimzi.io",
        "Kibana.kibana.k8s.elastic.co",
        "Kustomization.kustomize.toolkit.fluxcd.io",
        "MongoDBCommunity.mongodbcommunity.mongodb.com",
        "OpenTelemetryCollector.opentelemetry.io",
        "Prometheus.monitoring.coreos.com",
        "PrometheusAgent.monitoring.coreos.com",
        "RabbitmqCluster.rabbitmq.com",
        "ThanosRuler.monitoring.coreos.com",
        "Workflow.argoproj.io",
        "postgresql.acid.zalan.do",
    }
)
"""Kinds of which controllers make pods, or whole charts and folders of objects, as `ignored` calls them."""


def unseen(engine: Engine, ignored: Mapping[str, int]) -> Iterator[str]:
    """Yield what is not known of pods that there are, or will be; `ignored` counts objects by kind and group."""
    makers = [f"{count} {kind.partition('.')[0]}" for kind, count in sorted(ignored.items()) if kind in _MAKERS]
    if makers:
        yield f"no answer covers the pods that these objects create: {', '.join(makers)}"
    asking = [*_asking(engine.state)]
    if asking:
        known = "are not known" if engine.world.is_open("Pod") else "match nothing"
        yield f"labels whose values {known} until their controllers create pods: {'; '.join(asking)}"


def _asking(state: ClusterState) -> Iterator[str]:
    """Yield policies with the labels that they ask for and that may have, or not, the value they name."""
    unknown = {
        (key, value)
        for member in state.members.values()
        if member.pod is None
        for key, value in member.labels.items()
        if is_unknown(value)
    }
    for _, table in sorted(state.policies.items()) if unknown else ():
        for _, policy in sorted(table.items()):
            found = {
                item.key
                for item in requirements_of(policy)
                for key, value in unknown
                if item.key == key and may_hold(item, {key: value}, whole=True) is None
            }
            if found:
                yield f"{', '.join(sorted(found))} in NetworkPolicy {policy.namespace}/{policy.name}"
