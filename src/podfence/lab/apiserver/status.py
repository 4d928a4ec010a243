# SPDX-License-Identifier: Apache-2.0
"""Refusals in the API server's words: every answer that is not the wanted one is a Status."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from podfence.kube.findings import Severity
from podfence.lab.store.errors import InvalidError, RefusedError, named

if TYPE_CHECKING:
    from collections.abc import Iterable

    from podfence.kube.findings import Finding
    from podfence.lab.store.resources import Resource

_REASONS: Final = {
    "Invalid value": "FieldValueInvalid",
    "Required value": "FieldValueRequired",
    "Forbidden": "FieldValueForbidden",
    "Unsupported value": "FieldValueNotSupported",
    "Duplicate value": "FieldValueDuplicate",
    "Too long": "FieldValueTooLong",
    "Too many": "FieldValueTooMany",
}


def bad_request(message: str) -> RefusedError:
    """Return the refusal of a request that makes no sense."""
    return RefusedError(400, message, "BadRequest")


def no_fault(message: str) -> RefusedError:
    """Return the refusal of a request to which Kubernetes answers 500, though it is no fault of the server."""
    return RefusedError(400, message)


def not_found(sentence: str = "") -> RefusedError:
    """Return the refusal of a path that is not served; `sentence` adds why."""
    message = "the server could not find the requested resource"
    return RefusedError(404, f"{message} ({sentence})" if sentence else message, "NotFound", {})


def method_not_allowed() -> RefusedError:
    """Return the refusal of a method."""
    message = "the server does not allow this method on the requested resource"
    return RefusedError(405, message, "MethodNotAllowed", {})


def unsupported_type(message: str, *, with_details: bool = False) -> RefusedError:
    """Return the refusal of a media type."""
    return RefusedError(415, message, "UnsupportedMediaType", {} if with_details else None)


def invalid(group: str, kind: str, name: str, findings: Iterable[Finding]) -> RefusedError | None:
    """Return the refusal of an object for the errors among its findings, None if there are none."""
    errors = [finding for finding in findings if finding.severity is Severity.ERROR]
    return invalid_fields(group, kind, name, [(found.field, found.message) for found in errors]) if errors else None


def invalid_fields(group: str, kind: str, name: str, fields: list[tuple[str, str]]) -> RefusedError:
    """Return the refusal of an object, given the wrong fields and the message about each."""
    texts = [f"{field}: {message}" if field else message for field, message in fields]
    shown = list(dict.fromkeys(texts))
    whole = shown[0] if len(shown) == 1 else f"[{', '.join(shown)}]"
    qualified = f"{kind}.{group}" if group else kind
    details = named(group, kind, name)
    details["causes"] = [
        {"reason": _REASONS.get(message.partition(":")[0], "FieldValueInvalid"), "message": message, "field": field}
        for field, message in fields
    ]
    return InvalidError(f'{qualified} "{name}" is invalid: {whole}', details)


def unread(kind: str, version: str, error: str) -> RefusedError:
    """Return the refusal of a body that is no object of its kind."""
    return bad_request(f'{kind} in version "{version}" cannot be handled as a {kind}: {error}')


def deleted(row: Resource, obj: dict[str, Any]) -> dict[str, Any]:
    """Return the Status of a delete that removed an object."""
    details = named(row.group, row.plural, obj["metadata"]["name"]) | {"uid": obj["metadata"]["uid"]}
    return {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details}
