# SPDX-License-Identifier: Apache-2.0
"""Media types: what a client accepts and a body is written in, and answers that are written so."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal, NamedTuple

import msgspec
import yaml
from aiohttp import web

from podfence.lab.apiserver.status import RefusedError

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
    shaped = False
    for part in header.split(",") if header.strip() else ("*/*",):
        name, parameters = media_type(part)
        shape = parameters.get("as", "")
        shaped = shaped or bool(shape)
        if shape == "APIGroupDiscoveryList":
            if parameters.get("g") == "apidiscovery.k8s.io" and parameters.get("v") == "v2" and name == JSON:
                return Accepted("json", "APIGroupDiscoveryList", "v2")
            continue
        if shape and not (shape in _META and parameters.get("g") == "meta.k8s.io"):
            continue
        language = _LANGUAGES.get(name)
        if language is None:
            continue
        if shape:
            return Accepted(language, shape, parameters.get("v", "v1"))  # type: ignore[arg-type] # it is in _META
        return Accepted(language)
    if shaped:
        message = f"only the following media types are accepted: {_OFFERED}"
        raise RefusedError(406, message, "NotAcceptable")
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
