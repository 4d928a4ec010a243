# SPDX-License-Identifier: Apache-2.0
"""The JSON Schema of every kind of document, from the types that are printed."""

from __future__ import annotations

import difflib

import msgspec

from podfence.errors import PodfenceError
from podfence.report.documents import KINDS

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def text(kind: str) -> str:
    """Return the JSON Schema of `kind` (in any case), indented; raises PodfenceError for an unknown one."""
    known = {name.lower(): name for name in KINDS}
    if kind.lower() not in known:
        near = difflib.get_close_matches(kind.lower(), known, n=1)
        hint = f"did you mean {known[near[0]]}?" if near else f"there are {', '.join(KINDS)}"
        raise PodfenceError(f"unknown kind {kind!r}; {hint}")
    schema = {"$schema": DIALECT} | msgspec.json.schema(KINDS[known[kind.lower()]])
    return msgspec.json.format(msgspec.json.encode(schema), indent=2).decode()
