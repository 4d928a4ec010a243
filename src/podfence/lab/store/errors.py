# SPDX-License-Identifier: Apache-2.0
"""Why a store does not do what it was asked, in the API server's words."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from podfence.errors import PodfenceError
from podfence.kube.findings import field_text

if TYPE_CHECKING:
    from podfence.kube.source import Path
    from podfence.lab.store.resources import Resource


class StoreError(PodfenceError):
    """The text is the `message` of the API server's Status; `resource` and `name` are what its `details` name."""

    reason: ClassVar[str] = ""
    code: ClassVar[int] = 500

    def __init__(self, message: str, resource: Resource | None = None, name: str = "") -> None:
        """Refuse with a message."""
        super().__init__(message)
        self.resource = resource
        self.name = name


class NotFoundError(StoreError):
    """There is no such object."""

    reason = "NotFound"
    code = 404

    @classmethod
    def of(cls, resource: Resource, name: str) -> NotFoundError:
        """Return the error for an object."""
        return cls(f'{resource.key} "{name}" not found', resource, name)


class AlreadyExistsError(StoreError):
    """There is such an object already."""

    reason = "AlreadyExists"
    code = 409

    @classmethod
    def of(cls, resource: Resource, name: str, *, going: bool = False) -> AlreadyExistsError:
        """Return the error for an object, which may be `going` already."""
        return cls(f'{"object is being deleted: " * going}{resource.key} "{name}" already exists', resource, name)


class ConflictError(StoreError):
    """The object is not the one, or not as new, as the request says."""

    reason = "Conflict"
    code = 409

    @classmethod
    def of(cls, resource: Resource, name: str, why: str) -> ConflictError:
        """Return the error for an object."""
        return cls(f'Operation cannot be fulfilled on {resource.key} "{name}": {why}', resource, name)


class ForbiddenError(StoreError):
    """Nobody may do that. `causes` is what the API server's `details.causes` holds."""

    reason = "Forbidden"
    code = 403
    causes: tuple[dict[str, str], ...] = ()

    @classmethod
    def of(cls, resource: Resource, name: str, why: str, *causes: dict[str, str]) -> ForbiddenError:
        """Return the error for an object."""
        error = cls(f'{resource.key} "{name}" is forbidden: {why}', resource, name)
        error.causes = causes
        return error


class InvalidError(StoreError):
    """An object says what it may not. `field` is where, `problem` what is wrong there."""

    reason = "Invalid"
    code = 422
    field: Path = ()
    problem = ""

    @classmethod
    def of(cls, resource: Resource, name: str, field: Path, problem: str) -> InvalidError:
        """Return the error for a field of an object, () for all of it."""
        kind = f"{resource.kind}.{resource.group}" if resource.group else resource.kind
        where = f"{field_text(field)}: " if field else ""
        error = cls(f'{kind} "{name}" is invalid: {where}{problem}', resource, name)
        error.field, error.problem = field, problem
        return error


class ExpiredError(StoreError):
    """The store does not have the changes since a revision any more."""

    reason = "Expired"
    code = 410
