# SPDX-License-Identifier: Apache-2.0
"""The JSON Schema of every kind of document, from the types that are printed."""

from __future__ import annotations

import json
from typing import Any

import msgspec

from podfence.errors import PodfenceError, nearest
from podfence.report import documents
from podfence.report.documents import KINDS

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def text(kind: str) -> str:
    """Return the JSON Schema of `kind` (in any case), indented; raises PodfenceError for an unknown one."""
    known = {name.lower(): name for name in KINDS}
    if kind.lower() not in known:
        near = nearest(kind.lower(), known)
        hint = f"did you mean {known[near]}?" if near else f"there are {', '.join(KINDS)}"
        raise PodfenceError(f"unknown kind {kind!r}; {hint}")
    schema = _short({"$schema": DIALECT} | msgspec.json.schema(KINDS[known[kind.lower()]]))
    for definition in schema["$defs"].values():
        # What may be left out in Python is always printed.
        for rule in definition.get("properties", {}).values():
            rule.pop("default", None)
        if "properties" in definition:
            definition["required"] = list(definition["properties"])
    return msgspec.json.format(msgspec.json.encode(schema), indent=2).decode()


def _short(schema: dict[str, Any]) -> dict[str, Any]:
    """Return a schema in which a kind and the answer that it is of, which may be its own part, have short names."""
    text = json.dumps(schema).replace(f"{documents.__name__}.", "")
    for answer in documents.ANSWERS:
        text = text.replace(f"{answer.__module__}.{answer.__name__}", "Part")
    found: dict[str, Any] = json.loads(text)
    return found
