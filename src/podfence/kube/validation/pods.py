# SPDX-License-Identifier: Apache-2.0
"""Pods, and objects with a pod template: containers, their ports, the restart policy; selector, template, replicas."""

from __future__ import annotations

from typing import TYPE_CHECKING, get_args

from podfence.kube import convert, wire
from podfence.kube.convert import labels_of
from podfence.kube.findings import Code, field_text
from podfence.kube.objects import Operator
from podfence.kube.validation.names import dns_label, port_name
from podfence.kube.validation.ports import check_number
from podfence.kube.validation.selectors import check_labels, check_selector

if TYPE_CHECKING:
    from podfence.kube.origin import Path
    from podfence.kube.validation.findings import Findings

_OPERATORS = frozenset(get_args(Operator))
_PROTOCOLS = ("SCTP", "TCP", "UDP")
_RESTARTS = ("Always", "OnFailure", "Never")
_EMPTY_SELECTOR = {
    "Deployment": "empty selector is invalid for deployment",
    "ReplicaSet": "empty selector is invalid for deployment",
    "StatefulSet": "empty selector is invalid for statefulset",
    "DaemonSet": "empty selector is invalid for daemonset",
}
_SPEC: Path = ("spec",)


def check_pod_spec(spec: wire.PodSpec | None, field: Path, findings: Findings) -> None:
    """Check the spec of a pod or of a pod template."""
    spec = spec or wire.PodSpec()
    if not spec.containers:
        findings.required((*field, "containers"))
    names: set[str] = set()
    for key, containers in (("containers", spec.containers), ("initContainers", spec.init_containers)):
        for index, container in enumerate(containers or ()):
            _check_container(container or wire.Container(), (*field, key, index), names, findings)
    findings.check_word(field, "restartPolicy", spec.restart_policy, _RESTARTS)


def _check_container(container: wire.Container, field: Path, names: set[str], findings: Findings) -> None:
    name, image = container.name, container.image
    if not name:
        findings.required((*field, "name"))
    else:
        _check_name(name, dns_label(name), (*field, "name"), names, findings)
    if not image:
        findings.required((*field, "image"))
    elif image[0].isspace() or image[-1].isspace():
        findings.invalid((*field, "image"), image, "must not have leading or trailing whitespace")
    if container.ports:
        _check_ports(container.ports, (*field, "ports"), findings)


def _check_name(name: str, messages: tuple[str, ...], field: Path, names: set[str], findings: Findings) -> None:
    """Check a name that only one may have; `messages` are what is wrong with it, `names` those before."""
    findings.invalid(field, name, *messages)
    if not messages and name in names:
        findings.duplicate(field, name)
    elif not messages:
        names.add(name)


def _check_ports(ports: list[wire.ContainerPort | None], field: Path, findings: Findings) -> None:
    names: set[str] = set()
    seen: dict[tuple[object, ...], int] = {}
    for index, item in enumerate(ports):
        port = item or wire.ContainerPort()
        if port.name:
            _check_name(port.name, port_name(port.name), (*field, index, "name"), names, findings)
        if not port.container_port:
            findings.required((*field, index, "containerPort"))
        else:
            check_number(port.container_port, (*field, index, "containerPort"), findings)
        if port.host_port:
            check_number(port.host_port, (*field, index, "hostPort"), findings)
        findings.check_word((*field, index), "protocol", port.protocol, _PROTOCOLS)
        first = seen.setdefault((port.container_port, port.host_port, port.protocol or "TCP"), index)
        if first != index:
            findings.warn((*field, index), f"duplicate port definition with {field_text((*field, first))}")


def check_workload(workload: wire.Workload, kind: str, findings: Findings, *, current: bool) -> None:
    """Check a Deployment, StatefulSet, DaemonSet or ReplicaSet.

    In API versions that are gone (`current` false) an absent selector meant the template's labels.
    """
    spec = workload.spec or wire.WorkloadSpec()
    template = spec.template or wire.PodTemplate()
    _check_replicas(spec.replicas, findings)
    selector = spec.selector
    if selector is None:
        if current:
            if kind != "DaemonSet":
                findings.required((*_SPEC, "selector"))
            _mismatch(template, findings)
    else:
        check_selector(selector, (*_SPEC, "selector"), findings)
        if not selector.match_labels and not selector.match_expressions:
            findings.invalid((*_SPEC, "selector"), {}, _EMPTY_SELECTOR[kind])
        elif not _matches(selector, template):
            _mismatch(template, findings)
    _check_lasting_template(template, findings)


def check_replication_controller(controller: wire.ReplicationController, findings: Findings) -> None:
    """Check a ReplicationController; an absent selector means the template's labels."""
    spec = controller.spec or wire.ReplicationControllerSpec()
    _check_replicas(spec.replicas, findings)
    if spec.template is None:
        findings.required((*_SPEC, "template"))
        return
    labels = labels_of(spec.template.metadata)
    selector = spec.selector or labels
    if not selector:
        findings.required((*_SPEC, "selector"))
    check_labels(selector, (*_SPEC, "selector"), findings)
    if any(labels.get(key) != (value or "") for key, value in selector.items()):
        _mismatch(spec.template, findings)
    _check_lasting_template(spec.template, findings)


def check_job(spec: wire.WorkloadSpec | None, field: Path, findings: Findings) -> None:
    """Check the spec of a Job, whose selector the server makes."""
    template = (spec or wire.WorkloadSpec()).template or wire.PodTemplate()
    field = (*field, "template")
    check_template(template, field, findings)
    policy = template.spec.restart_policy if template.spec is not None else None
    if policy in (None, "Always"):
        findings.required((*field, "spec", "restartPolicy"), 'valid values: "OnFailure", "Never"')


def check_cron_job(job: wire.CronJob, findings: Findings) -> None:
    """Check the job template of a CronJob."""
    template = (job.spec or wire.CronJobSpec()).job_template or wire.Workload()
    check_job(template.spec, (*_SPEC, "jobTemplate", "spec"), findings)


def _check_replicas(replicas: int | None, findings: Findings) -> None:
    if replicas is not None and replicas < 0:
        findings.invalid((*_SPEC, "replicas"), replicas, "must be greater than or equal to 0")


def check_template(template: wire.PodTemplate, field: Path, findings: Findings) -> None:
    """Check the labels and the spec of a pod template."""
    check_labels(labels_of(template.metadata), (*field, "metadata", "labels"), findings)
    check_pod_spec(template.spec, (*field, "spec"), findings)


def _check_lasting_template(template: wire.PodTemplate, findings: Findings) -> None:
    """Check the template of pods that are always started again."""
    check_template(template, (*_SPEC, "template"), findings)
    if template.spec is not None:
        findings.check_word(("spec", "template", "spec"), "restartPolicy", template.spec.restart_policy, ("Always",))


def _mismatch(template: wire.PodTemplate, findings: Findings) -> None:
    findings.invalid(
        (*_SPEC, "template", "metadata", "labels"),
        labels_of(template.metadata) or None,
        "`selector` does not match template `labels`",
        needs=((*_SPEC, "selector"), (*_SPEC, "template", "metadata", "labels")),
        code=Code.MISMATCH,
    )


def _matches(selector: wire.LabelSelector, template: wire.PodTemplate) -> bool:
    labels = labels_of(template.metadata)
    terms = convert.selector(selector).requirements
    # What is no operator is told of where the selector is checked.
    return all(term.is_met(labels.get(term.key)) for term in terms if term.operator in _OPERATORS)
