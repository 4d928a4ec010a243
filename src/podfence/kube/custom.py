# SPDX-License-Identifier: Apache-2.0
"""Objects of kinds that other projects define: workloads with a pod template, and OpenShift's Templates.

An object whose `spec.template` is a pod template with containers makes pods of it, whatever it is called: an Argo
Rollout, a DeploymentConfig, a CloneSet, a Knative Service.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from podfence.kube import convert, wire
from podfence.kube.registry import KINDS, Kind, Reading, is_upstream_group, near_kind
from podfence.kube.validation.pods import check_template

if TYPE_CHECKING:
    from podfence.kube.validation.findings import Findings

_TEMPLATE_VERSIONS: Final = ("v1", "template.openshift.io/v1")
_KUSTOMIZE: Final = "kustomize.config.k8s.io/"
# ${{NAME}} stands for a value that is no text, and is all of its field.
_PARAMETER: Final = r"\$\{\{(\w+)\}\}|\$\{(\w+)\}"


def _check(written: wire.CustomWorkload, _reading: Reading, findings: Findings) -> None:
    if written.spec is not None and written.spec.template is not None:
        check_template(written.spec.template, ("spec", "template"), findings)


CUSTOM_WORKLOAD: Final = Kind(
    *("", "", (), {}),
    *(wire.CustomWorkload, _check, convert.custom_workload),
    template=("spec", "template"),
)
"""What stands for all workloads of other kinds in the place of a row of `kube.registry`."""


def is_custom_workload(value: dict[str, Any], kind: str, version: str) -> bool:
    """Return whether an object of another project's kind has a pod template with containers."""
    group = version.rpartition("/")[0]
    if is_upstream_group(group) and (kind in KINDS or near_kind(kind, group)):
        return False
    found: object = value
    for step in ("spec", "template", "spec", "containers"):
        found = found.get(step) if isinstance(found, dict) else None
    return isinstance(found, list) and bool(found) and all(isinstance(item, dict) for item in found)


def custom_name(kind: str, version: str) -> str:
    """Return what a kind is called here: with its group where Kubernetes has a kind of that name too."""
    return f"{kind}.{version.rpartition('/')[0]}" if kind in KINDS else kind


def is_template(kind: str, version: str) -> bool:
    """Return whether an object is a Template of OpenShift."""
    return kind == "Template" and version in _TEMPLATE_VERSIONS


def is_kustomization(kind: str, version: str) -> bool:
    """Return whether an object is for kustomize, and not for a server."""
    return version.startswith(_KUSTOMIZE) and kind in ("Kustomization", "Component")


def with_parameters(template: dict[str, Any]) -> dict[str, Any]:
    """Return a Template whose objects have the values of its parameters; those without one stay open."""
    values = {
        item["name"]: item["value"]
        for item in template.get("parameters") or ()
        if isinstance(item, dict) and isinstance(item.get("name"), str) and isinstance(item.get("value"), str)
    }
    return {**template, "objects": _filled(template["objects"], values)} if "objects" in template else template


def _filled(value: Any, values: dict[str, str]) -> Any:  # noqa: ANN401  any JSON value
    match value:
        case dict():
            return {key: _filled(item, values) for key, item in value.items()}
        case list():
            return [_filled(item, values) for item in value]
        case str():
            return _text(value, values)
    return value


def _text(text: str, values: dict[str, str]) -> str | int:
    filled = re.sub(_PARAMETER, lambda match: values.get(match[1] or match[2], match[0]), text)
    whole = re.fullmatch(_PARAMETER, text)
    if whole and whole[1] and filled.isdecimal() and filled.isascii():
        return int(filled)
    return filled
