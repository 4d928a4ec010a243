# SPDX-License-Identifier: Apache-2.0
"""Labels and label selectors (semantics 9.5)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from podfence.kube import wire
from podfence.kube.validation.names import label_key, label_value

if TYPE_CHECKING:
    from collections.abc import Mapping

    from podfence.kube.origin import Path
    from podfence.kube.validation.findings import Findings


def check_labels(labels: Mapping[str, str | None], field: Path, findings: Findings) -> None:
    """Check keys and values of labels; the messages' field is the whole mapping, their place the key."""
    for key, value in labels.items():
        if messages := label_key(key):
            findings.invalid(field, key, *messages, place=(*field, key), at_key=True)
        if value and (messages := label_value(value)):
            findings.invalid(field, value, *messages, place=(*field, key), at_key=True)


def check_selector(selector: wire.LabelSelector, field: Path, findings: Findings) -> None:
    """Check a selector: labels first, then each expression's operator, key and values."""
    if selector.match_labels:
        check_labels(selector.match_labels, (*field, "matchLabels"), findings)
    if selector.match_expressions:
        for index, requirement in enumerate(selector.match_expressions):
            _check_requirement(requirement or wire.Requirement(), (*field, "matchExpressions", index), findings)


def _check_requirement(requirement: wire.Requirement, field: Path, findings: Findings) -> None:
    operator = requirement.operator or ""
    if operator in ("In", "NotIn"):
        if not requirement.values:
            findings.required((*field, "values"), "must be specified when `operator` is 'In' or 'NotIn'")
    elif operator in ("Exists", "DoesNotExist"):
        if requirement.values:
            findings.forbidden((*field, "values"), "may not be specified when `operator` is 'Exists' or 'DoesNotExist'")
    else:
        findings.invalid(
            (*field, "operator"),
            operator,
            "not a valid selector operator",
            remedy="the operators are In, NotIn, Exists and DoesNotExist",
        )
    key = requirement.key or ""
    findings.invalid((*field, "key"), key, *label_key(key))
    for index, value in enumerate(requirement.values or ()):
        findings.invalid((*field, "values", index), value or "", *label_value(value or ""))
