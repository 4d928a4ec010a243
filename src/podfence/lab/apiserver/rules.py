# SPDX-License-Identifier: Apache-2.0
"""Whether an object may be created, or changed into another: Kubernetes' validation (semantics 9)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec

from podfence.kube.findings import Code, Finding, Severity
from podfence.kube.registry import Reading
from podfence.kube.validation.findings import Findings
from podfence.kube.validation.meta import check_meta
from podfence.kube.wire import Meta
from podfence.lab.apiserver.fields import value_at, without
from podfence.lab.store.resources import SERVED

if TYPE_CHECKING:
    from collections.abc import Iterator

    from podfence.lab.store.metadata import Raw
    from podfence.lab.store.resources import Resource

NameRule = Callable[[str], tuple[str, ...]]

_IMMUTABLE: Final = "field is immutable"
_POD_UPDATE: Final = (
    "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,"
    "`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),"
    "`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)"
)
_FIXED: Final = {
    "Deployment": ("spec.selector",),
    "ReplicaSet": ("spec.selector",),
    "DaemonSet": ("spec.selector",),
    "Job": ("spec.selector", "spec.completions", "spec.completionMode", "spec.template"),
    "Secret": ("type",),
    "RoleBinding": ("roleRef",),
    "ClusterRoleBinding": ("roleRef",),
}
_STATEFUL: Final = (
    "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', "
    "'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden"
)
_STATEFUL_FREE: Final = (
    *("replicas", "ordinals", "template", "updateStrategy", "revisionHistoryLimit", "minReadySeconds"),
    "persistentVolumeClaimRetentionPolicy",
)


class Policies(NamedTuple):
    """How policies are read: with the CIDR spellings that older servers took (`lax`), or as before 1.7 (`legacy`)."""

    lax: bool = False
    legacy: bool = False


CURRENT: Final = Policies()
"""As a current server reads them."""


def check(row: Resource, obj: Raw, before: Raw | None = None, policies: Policies = CURRENT) -> Findings:
    """Return what is wrong with an object, or with changing `before` into it, in the server's order."""
    findings = Findings()
    known = SERVED[row.kind]
    reading = Reading(row.kind, row.api_version, *policies)
    written: Any = msgspec.convert(obj, known.written)
    check_meta(written.metadata or Meta(), _without_cache(known.name_rule), findings, namespaced=row.namespaced)
    known.check(written, reading, findings)
    if before is not None:
        if row.kind == "NetworkPolicy":
            lax = Findings()
            known.check(written, reading._replace(lax=True), lax)
            findings = _forgiven(findings, lax, before)
        findings += changes(row, obj, before)
    return findings


def _without_cache(rule: NameRule) -> NameRule:
    """Return a rule for names that remembers none.

    Names of objects seldom come again. A name that is remembered keeps the memory around it from being given back when
    its object is gone.
    """
    return getattr(rule, "__wrapped__", rule)


def warnings(findings: Findings) -> list[str]:
    """Return the warnings among findings, as the header has them."""
    return [
        f"{found.field}: {found.message}" if found.field else found.message
        for found in findings
        if found.severity is Severity.WARNING
    ]


def _forgiven(findings: Findings, lax: Findings, before: Raw) -> Findings:
    """Return findings in which CIDRs that the policy has had before are judged as `lax` does (semantics 9.4)."""
    old = set(_cidrs(before))
    kept = Findings()
    for found in findings:
        is_cidr = found.path[-1:] == ("cidr",) or found.path[-2:-1] == ("except",)
        if is_cidr and found.message.removeprefix("Invalid value: ").partition(": ")[0] in old:
            kept += [other for other in lax if other.path == found.path and other not in kept]
        else:
            kept.append(found)
    return kept


def _cidrs(policy: Raw) -> Iterator[str]:
    for rules, peers in (("ingress", "from"), ("egress", "to")):
        for rule in policy["spec"].get(rules, ()):
            for peer in rule.get(peers, ()):
                block = peer.get("ipBlock") or {}
                for text in (block.get("cidr", ""), *block.get("except", ())):
                    yield f'"{text}"'


def changes(row: Resource, obj: Raw, before: Raw) -> Findings:
    """Return what may not change so, in an object that is valid by itself."""
    findings = Findings()
    match row.kind:
        case "Pod":
            _pod_changes(obj["spec"], before["spec"], findings)
        case "StatefulSet":
            if without(obj["spec"], *_STATEFUL_FREE) != without(before["spec"], *_STATEFUL_FREE):
                findings.forbidden(("spec",), _STATEFUL)
        case "ConfigMap" | "Secret" if before.get("immutable"):
            if any(obj.get(key) != before.get(key) for key in ("data", "binaryData", "immutable")):
                findings.forbidden(("data",), "field is immutable when `immutable` is set")
    for path in _FIXED.get(row.kind, ()):
        new, old = value_at(obj, path), value_at(before, path)
        if old is not None and new != old:
            findings.invalid(tuple(path.split(".")), new, _IMMUTABLE)
    return findings


def _pod_changes(new: Raw, old: Raw, findings: Findings) -> None:
    for key in ("containers", "initContainers"):
        if len(new.get(key) or ()) != len(old.get(key) or ()):
            findings.forbidden(("spec", key), "pod updates may not add or remove containers")
            return
    if _fixed(new) != _fixed(old):
        message = f"Forbidden: {_POD_UPDATE}"
        findings.append(Finding(code=Code.FORBIDDEN, path=("spec",), message=message))
    elif not _only_added(new.get("tolerations", []), old.get("tolerations", [])):
        findings.forbidden(
            ("spec", "tolerations"), "existing toleration can not be modified except its tolerationSeconds"
        )


def _fixed(spec: Raw) -> Raw:
    # The scheduler and the binding of a pod set its node once, and nobody changes it.
    kept = without(spec, "activeDeadlineSeconds", "tolerations", "terminationGracePeriodSeconds")
    for key in ("containers", "initContainers"):
        kept[key] = [without(container, "image") for container in spec.get(key) or ()]
    return kept


def _only_added(new: list[Raw], old: list[Raw]) -> bool:
    present = [without(term, "tolerationSeconds") for term in new]
    return all(without(term, "tolerationSeconds") in present for term in old)
