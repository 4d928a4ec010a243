# SPDX-License-Identifier: Apache-2.0
"""Questions about access: whoever has the token of a lab may do everything in it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from podfence.lab.store.metadata import Raw

USER: Final = "podfence:admin"
_GROUPS: Final = ("system:masters", "system:authenticated")
_ANY: Final = ("*",)


def answer(kind: str, asked: Raw) -> Raw:
    """Return a review with its answer."""
    return {key: value for key, value in asked.items() if key != "status"} | {"status": _STATUS[kind]}


_STATUS: Final[dict[str, Raw]] = {
    "SelfSubjectReview": {"userInfo": {"username": USER, "groups": list(_GROUPS)}},
    "SelfSubjectAccessReview": {"allowed": True, "reason": "the token of a lab allows everything in it"},
    "SelfSubjectRulesReview": {
        "resourceRules": [{"verbs": list(_ANY), "apiGroups": list(_ANY), "resources": list(_ANY)}],
        "nonResourceRules": [{"verbs": list(_ANY), "nonResourceURLs": list(_ANY)}],
        "incomplete": False,
    },
}
