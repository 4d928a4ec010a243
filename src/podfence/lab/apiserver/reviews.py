# SPDX-License-Identifier: Apache-2.0
"""Questions about access: whoever has the token of a lab may do everything in it."""

from __future__ import annotations

from typing import Final, NamedTuple

from podfence.lab.store.metadata import Raw

USER: Final = "podfence:admin"
_ANY: Final = ["*"]


class Review(NamedTuple):
    """A resource that answers a question and keeps nothing: `status` is the answer to every question."""

    kind: str
    plural: str
    api_version: str
    status: Raw

    def answered(self, asked: Raw) -> Raw:
        """Return a review with its answer."""
        return {"metadata": {}, **asked, "kind": self.kind, "apiVersion": self.api_version, "status": self.status}


_USER: Final = {"userInfo": {"username": USER, "groups": ["system:masters", "system:authenticated"]}}
_ACCESS: Final = {"allowed": True, "reason": "the token of a lab allows everything in it"}
_RULES: Final = {
    "resourceRules": [{"verbs": _ANY, "apiGroups": _ANY, "resources": _ANY}],
    "nonResourceRules": [{"verbs": _ANY, "nonResourceURLs": _ANY}],
    "incomplete": False,
}
REVIEWS: Final = (
    Review("SelfSubjectReview", "selfsubjectreviews", "authentication.k8s.io/v1", _USER),
    Review("SelfSubjectAccessReview", "selfsubjectaccessreviews", "authorization.k8s.io/v1", _ACCESS),
    Review("SelfSubjectRulesReview", "selfsubjectrulesreviews", "authorization.k8s.io/v1", _RULES),
)
