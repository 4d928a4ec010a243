# SPDX-License-Identifier: Apache-2.0
"""Pods that an input says nothing of: those that other controllers make, and labels that only they know."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from podfence.cluster.controllers import ADDED, is_unknown
from podfence.cluster.selection import keys_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

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
    state = engine.state
    selects = "it selects no workload here that has no pods yet"
    if engine.world.is_open("Pod"):
        selects = "whether it selects workloads here that have no pods yet is not known"
    makers = [f"{count} {kind.partition('.')[0]}" for kind, count in sorted(ignored.items()) if kind in _MAKERS]
    if makers:
        yield f"their pods are not in the input, and so in no answer: {', '.join(makers)}"
    unknown = {
        key
        for member in state.members.values()
        if member.pod is None
        for key, value in member.labels.items()
        if is_unknown(value)
    }
    for _, table in sorted(state.policies.items()) if unknown else ():
        for _, policy in sorted(table.items()):
            for label in sorted(keys_of(policy) & unknown & ADDED):
                where = f" ({policy.origin.at()})" if policy.origin else ""
                yield (
                    f"NetworkPolicy {policy.namespace}/{policy.name}{where} asks for {label}, whose value a controller "
                    f"chooses: {selects}"
                )
