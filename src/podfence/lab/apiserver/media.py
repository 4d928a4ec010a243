# SPDX-License-Identifier: Apache-2.0
"""Media types: what a client accepts and a body is written in, and answers that are written so."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal, NamedTuple, cast

import msgspec
import yaml
from aiohttp import web

from podfence.lab.store.errors import RefusedError

if TYPE_CHECKING:
    from podfence.lab.store.metadata import Raw

NOT_CACHED: Final = {"Cache-Control": "no-cache, private"}
"""The header of answers that are true now only."""

Shape = Literal["object", "Table", "PartialObjectMetadata", "PartialObjectMetadataList", "APIGroupDiscoveryList"]

JSON: Final = "application/json"
YAML: Final = "application/yaml"
PROTOBUF: Final = "application/vnd.kubernetes.protobuf"
_OFFERED: Final = f"{JSON}, {YAML}, {PROTOBUF}"
_META: Final = ("Table", "PartialObjectMetadata", "PartialObjectMetadataList")


class Accepted(NamedTuple):
    """How an answer is to be written: in which language, and in which shape."""

    language: Literal["json", "yaml"] = "json"
    shape: Shape = "object"
    version: str = ""


def media_type(text: str) -> tuple[str, dict[str, str]]:
    """Return a media type and its parameters."""
    name, *rest = (part.strip() for part in text.split(";"))
    return name.lower(), dict(part.partition("=")[::2] for part in rest)


def accepted(header: str) -> Accepted:
    """Return the first form of an Accept header that the server can give. Raises RefusedError.

    Protobuf is not given: every client of Kubernetes that asks for it accepts JSON as well.
    """
    shapes: list[str] = []
    for part in header.split(",") if header.strip() else ("*/*",):
        name, parameters = media_type(part)
        shape, group, version = (parameters.get(key, "") for key in ("as", "g", "v"))
        language = _LANGUAGES.get(name)
        if not shape and language:
            return Accepted(language)
        if shape in _META and group == "meta.k8s.io" and language:
            return Accepted(language, cast("Shape", shape), version or "v1")
        if (shape, group, version, name) == ("APIGroupDiscoveryList", "apidiscovery.k8s.io", "v2", JSON):
            return Accepted("json", "APIGroupDiscoveryList", "v2")
        shapes.append(shape)
    if any(shapes):
        raise RefusedError(406, f"only the following media types are accepted: {_OFFERED}", "NotAcceptable")
    message = f"406: Not Acceptable\n\nAvailable representations: {_OFFERED}"
    raise RefusedError(406, message, "NotAcceptable", {})


_LANGUAGES: Final[dict[str, Literal["json", "yaml"]]] = {
    JSON: "json",
    YAML: "yaml",
    "application/*": "json",
    "*/*": "json",
}


def refused(refusal: RefusedError) -> web.Response:
    """Return the answer to a request that is refused."""
    response = json_answer(refusal.body, refusal.code)
    if refusal.code == 413:
        # The rest of the body is still on its way, and nobody reads it.
        response.force_close()
    return response


def json_answer(body: Raw, code: int = 200) -> web.Response:
    """Return an answer as JSON."""
    return web.Response(
        status=code, body=msgspec.json.encode(body), content_type="application/json", headers=NOT_CACHED
    )


def written(body: Raw, accepted: Accepted, code: int = 200) -> web.Response:
    """Return an answer in the language that the client accepts."""
    if accepted.language == "yaml":
        text = yaml.safe_dump(body, allow_unicode=True)
        return web.Response(status=code, body=text.encode(), content_type="application/yaml", headers=NOT_CACHED)
    return json_answer(body, code)
