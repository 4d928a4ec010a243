# SPDX-License-Identifier: Apache-2.0
"""The metrics of an agent, as Prometheus reads them; no pod is named in a label."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from msgspec.structs import asdict
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily
from prometheus_client.registry import Collector

from podfence.agent.node.drops import AGAIN
from podfence.agent.node.status import programmed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from prometheus_client.metrics_core import Metric

    from podfence.agent.node.drops import DropTotals
    from podfence.agent.node.view import View
    from podfence.agent.reports import Report

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
"""The exposition format that every Prometheus reads."""

BUCKETS: Final = (0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.25, 0.5, 1.0)
"""Seconds from the receipt of a change until the kernel has it: mostly ten to fifty milliseconds."""

SEVERITIES: Final = ("fatal", "warning")
_KINDS: Final = ("Pod", "NetworkPolicy")


class Metrics:
    """What the reports of an agent add up to, and what is asked of it when somebody reads the metrics."""

    def __init__(self, version: str) -> None:
        """Start with nothing counted; `version` is that of podfence."""
        # A second series for each, with the time it began, which process_start_time_seconds tells already.
        disable_created_metrics()  # type: ignore[no-untyped-call]  # the library has no types here
        self._version = version
        self._registry = CollectorRegistry()
        self._latency = Histogram(
            "podfence_event_to_kernel_seconds",
            "Time from the receipt of a change until the kernel has it.",
            ("kind",),
            buckets=BUCKETS,
            registry=self._registry,
        )
        counter = partial(Counter, registry=self._registry)
        self._cut = counter("podfence_cut_flows_total", "Established flows that were cut because policies deny them.")
        self._errors = counter(
            "podfence_errors_total", "Errors that were reported. The same error counts once a minute."
        )
        self._repairs = counter(
            "podfence_drift_repairs_total", "Repairs of the kernel's table after another program changed it."
        )
        # So that rates begin at zero.
        for kind in _KINDS:
            self._latency.labels(kind)
        ProcessCollector(registry=self._registry)

    def note(self, report: Report) -> None:
        """Count what a report says; safe to call from any thread."""
        for record in report.records:
            self._latency.labels(record.kind).observe(record.seconds)
        if report.cut:
            self._cut.inc(report.cut)
        if report.errors:
            self._errors.inc(len(report.errors))
        if report.drift:
            self._repairs.inc()

    def text(self, view: View, drops: DropTotals) -> bytes:
        """Return all metrics now. This asks nft for counters, so not to be called in an event loop."""
        drops.read(AGAIN)
        registry = CollectorRegistry()
        registry.register(_Present(view, drops, self._version))
        return generate_latest(self._registry) + generate_latest(registry)


class _Present(Collector):
    """What is so at the moment, asked for once."""

    def __init__(self, view: View, drops: DropTotals, version: str) -> None:
        self._view = view
        self._drops = drops
        self._version = version

    def describe(self) -> list[Metric]:
        """Say nothing beforehand: what is here depends on nothing else in the registry."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics."""
        view = self._view
        info = InfoMetricFamily("podfence_build", "Version of podfence.")
        info.add_metric((), {"version": self._version})
        yield info
        enforcing = view.agent.status().enforcing
        yield _gauge("podfence_enforcing", "Whether the kernel has every change that the agent received.", enforcing)
        yield _gauge("podfence_ready", "Whether the agent is ready, as /readyz says.", not view.obstacles())
        count = programmed(view)
        yield _gauge("podfence_programmed_pods", "Pods of the node that are programmed in its kernel.", count.pods)
        yield _gauge("podfence_programmed_policies", "Policies that isolate pods of the node.", count.policies)
        yield _gauge("podfence_groups", "Groups of pods of the node that the same policies isolate.", count.groups)
        links = GaugeMetricFamily(
            "podfence_pod_links", "Pods of the node, by whether they are bound to their links.", labels=("state",)
        )
        for state, number in asdict(view.links()).items():
            links.add_metric((state,), number)
        yield links
        yield from self._dropped()
        yield from self._watches()
        findings = GaugeMetricFamily("podfence_findings", "Findings about the node.", labels=("severity",))
        found = view.findings()
        for severity in SEVERITIES:
            findings.add_metric((severity,), sum(item.severity == severity for item in found))
        yield findings

    def _dropped(self) -> Iterator[Metric]:
        totals = self._drops.totals
        dropped = CounterMetricFamily(
            "podfence_dropped_packets", "Packets that policies denied, by the side that denied them.",
            labels=("direction",),
        )  # fmt: skip
        dropped.add_metric(("egress",), totals.egress)
        dropped.add_metric(("ingress",), totals.ingress)
        yield dropped
        yield CounterMetricFamily(
            "podfence_held_packets", "Dropped packets of pods that are not programmed yet.", value=totals.held
        )
        unconnected = CounterMetricFamily(
            "podfence_unconnected_packets",
            "TCP segments without a connection, and ICMP errors about flows of other pods.",
            labels=("what",),
        )  # fmt: skip
        unconnected.add_metric(("segment",), totals.segments)
        unconnected.add_metric(("error",), totals.errors)
        yield unconnected
        stray = CounterMetricFamily(
            "podfence_stray_packets", "Packets that do not belong to the pod whose link they came by, by reason.",
            labels=("reason",),
        )  # fmt: skip
        for reason, packets in totals.stray.items():
            stray.add_metric((reason,), packets)
        yield stray
        yield CounterMetricFamily("podfence_cut_flow_packets", "Packets of flows that were cut.", value=totals.cut)

    def _watches(self) -> Iterator[Metric]:
        connected = GaugeMetricFamily(
            "podfence_watch_connected", "Whether the API server answers the watch.", labels=("kind",)
        )
        relists = CounterMetricFamily(
            "podfence_watch_relists", "Complete lists after the first one.", labels=("kind",)
        )  # fmt: skip
        failures = CounterMetricFamily("podfence_watch_failures", "Requests that failed.", labels=("kind",))
        for item in self._view.source().watches:
            connected.add_metric((item.kind,), item.connected)
            relists.add_metric((item.kind,), item.relists)
            failures.add_metric((item.kind,), item.failures)
        yield from (connected, relists, failures)


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(name, text, value=float(value))
