# SPDX-License-Identifier: Apache-2.0
"""Why a request is not fulfilled, and why a store does not do what it was asked, in the API server's words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Self

from podfence.errors import PodfenceError

if TYPE_CHECKING:
    from podfence.lab.store.resources import Resource


class RefusedError(PodfenceError):
    """A request that is not fulfilled: the HTTP status, and what the Status says."""

    def __init__(self, code: int, message: str, reason: str = "", details: dict[str, Any] | None = None) -> None:
        """Refuse with a code, a message and Kubernetes' reason."""
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.details = details

    @property
    def body(self) -> dict[str, Any]:
        """The Status."""
        found: dict[str, Any] = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure"}
        found["message"] = str(self)
        if self.reason:
            found["reason"] = self.reason
        if self.details is not None:
            found["details"] = self.details
        return found | {"code": self.code}


def named(group: str, kind: str, name: str = "") -> dict[str, Any]:
    """Return the details that name an object."""
    return {key: text for key, text in (("name", name), ("group", group), ("kind", kind)) if text}


class StoreError(RefusedError):
    """A store does not do what it was asked.

    `status` is the code and the reason; `form` is the text about an object, with its `key`, its `name` and `why`.
    """

    status: ClassVar[tuple[int, str]] = (500, "")
    form: ClassVar[str] = ""

    def __init__(self, message: str, details: dict[str, Any] | None = None) -> None:
        """Refuse with a message."""
        code, reason = self.status
        super().__init__(code, message, reason, details)

    @classmethod
    def of(cls, resource: Resource, name: str, why: str = "", *causes: dict[str, str]) -> Self:
        """Return the error for an object; `causes` is what the API server's `details.causes` holds."""
        details = named(resource.group, resource.plural, name) | ({"causes": list(causes)} if causes else {})
        return cls(cls.form.format(key=resource.key, name=name, why=why), details)


class NotFoundError(StoreError):
    """There is no such object."""

    status = 404, "NotFound"
    form = '{key} "{name}" not found'


class AlreadyExistsError(StoreError):
    """There is such an object already."""

    status = 409, "AlreadyExists"
    form = '{why}{key} "{name}" already exists'


class ConflictError(StoreError):
    """The object is not the one, or not as new, as the request says."""

    status = 409, "Conflict"
    form = 'Operation cannot be fulfilled on {key} "{name}": {why}'


class ForbiddenError(StoreError):
    """Nobody may do that."""

    status = 403, "Forbidden"
    form = '{key} "{name}" is forbidden: {why}'


class InvalidError(StoreError):
    """An object says what it may not."""

    status = 422, "Invalid"


class ExpiredError(StoreError):
    """The store does not have the changes since a revision any more."""

    status = 410, "Expired"
