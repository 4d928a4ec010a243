# SPDX-License-Identifier: Apache-2.0
"""Why a store does not do what it was asked, in the API server's words."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Self

from podfence.errors import PodfenceError
from podfence.kube.findings import field_text

if TYPE_CHECKING:
    from podfence.kube.source import Path
    from podfence.lab.store.resources import Resource


class StoreError(PodfenceError):
    """The text is the `message` of the API server's Status; `resource` and `name` are what its `details` name.

    `causes` is what `details.causes` holds. `form` is the text about an object, with its `key`, its `name` and `why`.
    """

    reason: ClassVar[str] = ""
    code: ClassVar[int] = 500
    form: ClassVar[str] = ""

    def __init__(
        self, message: str, resource: Resource | None = None, name: str = "", causes: tuple[dict[str, str], ...] = ()
    ) -> None:
        """Refuse with a message."""
        super().__init__(message)
        self.resource = resource
        self.name = name
        self.causes = causes

    @classmethod
    def of(cls, resource: Resource, name: str, why: str = "", *causes: dict[str, str]) -> Self:
        """Return the error for an object."""
        return cls(cls.form.format(key=resource.key, name=name, why=why), resource, name, causes)


class NotFoundError(StoreError):
    """There is no such object."""

    reason = "NotFound"
    code = 404
    form = '{key} "{name}" not found'


class AlreadyExistsError(StoreError):
    """There is such an object already."""

    reason = "AlreadyExists"
    code = 409
    form = '{why}{key} "{name}" already exists'


class ConflictError(StoreError):
    """The object is not the one, or not as new, as the request says."""

    reason = "Conflict"
    code = 409
    form = 'Operation cannot be fulfilled on {key} "{name}": {why}'


class ForbiddenError(StoreError):
    """Nobody may do that."""

    reason = "Forbidden"
    code = 403
    form = '{key} "{name}" is forbidden: {why}'


class InvalidError(StoreError):
    """An object says what it may not. `field` is where, `problem` what is wrong there."""

    reason = "Invalid"
    code = 422
    field: Path = ()
    problem = ""

    @classmethod
    def at(cls, resource: Resource, name: str, field: Path, problem: str) -> InvalidError:
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
