# SPDX-License-Identifier: Apache-2.0
"""Objects with a pod template: selector, template, replicas."""

from __future__ import annotations

from typing import TYPE_CHECKING

from podfence.kube import wire
from podfence.kube.findings import Code
from podfence.kube.validation.pods import check_pod_spec
from podfence.kube.validation.selectors import check_labels, check_selector

if TYPE_CHECKING:
    from podfence.kube.source import Path
    from podfence.kube.validation.findings import Findings

_NO_SPEC = wire.WorkloadSpec()
_NO_CONTROLLER_SPEC = wire.ReplicationControllerSpec()
_NO_CRON_SPEC = wire.CronJobSpec()
_NO_JOB_TEMPLATE = wire.JobTemplate()
_NO_TEMPLATE = wire.PodTemplate()
_EMPTY_SELECTOR = {
    "Deployment": "empty selector is invalid for deployment",
    "ReplicaSet": "empty selector is invalid for deployment",
    "StatefulSet": "empty selector is invalid for statefulset",
    "DaemonSet": "empty selector is invalid for daemonset",
}
_SPEC: Path = ("spec",)


def check_workload(workload: wire.Workload, kind: str, findings: Findings, *, current: bool) -> None:
    """Check a Deployment, StatefulSet, DaemonSet or ReplicaSet.

    In API versions that are gone (`current` false) an absent selector meant the template's labels.
    """
    spec = workload.spec or _NO_SPEC
    template = spec.template or _NO_TEMPLATE
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
    check_template(template, (*_SPEC, "template"), findings)
    _check_always(template, (*_SPEC, "template"), findings)


def check_replication_controller(controller: wire.ReplicationController, findings: Findings) -> None:
    """Check a ReplicationController; an absent selector means the template's labels."""
    spec = controller.spec or _NO_CONTROLLER_SPEC
    _check_replicas(spec.replicas, findings)
    if spec.template is None:
        findings.required((*_SPEC, "template"))
        return
    labels = _labels(spec.template)
    selector = spec.selector or labels
    if not selector:
        findings.required((*_SPEC, "selector"))
    check_labels(selector, (*_SPEC, "selector"), findings)
    if any(labels.get(key) != (value or "") for key, value in selector.items()):
        _mismatch(spec.template, findings)
    check_template(spec.template, (*_SPEC, "template"), findings)
    _check_always(spec.template, (*_SPEC, "template"), findings)


def check_job(spec: wire.WorkloadSpec | None, field: Path, findings: Findings) -> None:
    """Check the spec of a Job, whose selector the server makes."""
    template = (spec or _NO_SPEC).template or _NO_TEMPLATE
    field = (*field, "template")
    check_template(template, field, findings)
    policy = template.spec.restart_policy if template.spec is not None else None
    if policy in (None, "Always"):
        findings.required((*field, "spec", "restartPolicy"), 'valid values: "OnFailure", "Never"')


def check_cron_job(job: wire.CronJob, findings: Findings) -> None:
    """Check the job template of a CronJob."""
    template = (job.spec or _NO_CRON_SPEC).job_template or _NO_JOB_TEMPLATE
    check_job(template.spec, (*_SPEC, "jobTemplate", "spec"), findings)


def _check_replicas(replicas: int | None, findings: Findings) -> None:
    if replicas is not None and replicas < 0:
        findings.invalid((*_SPEC, "replicas"), replicas, "must be greater than or equal to 0")


def check_template(template: wire.PodTemplate, field: Path, findings: Findings) -> None:
    """Check the labels and the spec of a pod template."""
    labels = template.metadata.labels if template.metadata is not None else None
    if labels:
        check_labels(labels, (*field, "metadata", "labels"), findings)
    check_pod_spec(template.spec, (*field, "spec"), findings)


def _check_always(template: wire.PodTemplate, field: Path, findings: Findings) -> None:
    policy = template.spec.restart_policy if template.spec is not None else None
    if policy not in (None, "Always"):
        findings.unsupported((*field, "spec", "restartPolicy"), policy or "", ("Always",))


def _labels(template: wire.PodTemplate) -> wire.Texts:
    labels = template.metadata.labels if template.metadata is not None else None
    return {key: value or "" for key, value in labels.items()} if labels else {}


def _mismatch(template: wire.PodTemplate, findings: Findings) -> None:
    findings.invalid(
        (*_SPEC, "template", "metadata", "labels"),
        _labels(template) or None,
        "`selector` does not match template `labels`",
        needs=((*_SPEC, "selector"), (*_SPEC, "template", "metadata", "labels")),
        code=Code.MISMATCH,
    )


def _matches(selector: wire.LabelSelector, template: wire.PodTemplate) -> bool:
    labels = _labels(template)
    if any(labels.get(key) != (value or "") for key, value in (selector.match_labels or {}).items()):
        return False
    return all(_holds(term, labels) for term in selector.match_expressions or () if term is not None)


def _holds(term: wire.Requirement, labels: wire.Texts) -> bool:
    values = [value or "" for value in term.values or ()]
    match term.operator:
        case "In":
            return labels.get(term.key or "") in values
        case "NotIn":
            return labels.get(term.key or "") not in values
        case "Exists":
            return term.key in labels
        case "DoesNotExist":
            return term.key not in labels
    return True
