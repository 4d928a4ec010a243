# SPDX-License-Identifier: Apache-2.0
"""Who may ask: whoever has the token of the lab, with a program and not with a web page.

Whoever may ask may do everything. That is the answer to all questions about access too.
"""

from __future__ import annotations

import hmac
from typing import TYPE_CHECKING, Final, NamedTuple

from podfence.lab.store.errors import RefusedError
from podfence.lab.store.metadata import Raw

if TYPE_CHECKING:
    from collections.abc import Mapping

_LOOPBACK: Final = ("127.0.0.1", "localhost", "[::1]")


def require(headers: Mapping[str, str], token: str, port: int) -> None:
    """Raise RefusedError unless a request comes from a program that has the token.

    A web page that a browser shows could reach the server at a name that it makes lead to the loopback address. So
    requests for another host, and those that a page sent, are refused before anything else.
    """
    host = headers.get("Host", "")
    if host not in {f"{name}:{port}" for name in _LOOPBACK}:
        raise RefusedError(
            403, f"the host of the request must be 127.0.0.1:{port} or localhost:{port}", "Forbidden", {}
        )
    if "Origin" in headers:
        raise RefusedError(403, "requests of web pages are not answered", "Forbidden", {})
    scheme, _, given = headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not hmac.compare_digest(given.strip().encode(), token.encode()):
        raise RefusedError(401, "Unauthorized", "Unauthorized")


def require_own_user(headers: Mapping[str, str]) -> None:
    """Raise RefusedError for a request that is to be made as another user."""
    if any(key.lower().startswith("impersonate-") for key in headers):
        raise RefusedError(403, "a lab has one user, who cannot act as another", "Forbidden", {})


class Review(NamedTuple):
    """A resource that answers a question and keeps nothing: `status` is the answer to every question."""

    kind: str
    plural: str
    api_version: str
    status: Raw

    def answered(self, asked: Raw) -> Raw:
        """Return a review with its answer."""
        return {"metadata": {}, **asked, "kind": self.kind, "apiVersion": self.api_version, "status": self.status}


_ANY: Final = ["*"]
_USER: Final = {"userInfo": {"username": "podfence:admin", "groups": ["system:masters", "system:authenticated"]}}
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
