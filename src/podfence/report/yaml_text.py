# SPDX-License-Identifier: Apache-2.0
"""JSON values written as YAML that every reader understands alike.

A text is written without quotes only if no version of YAML, and no reader's extension, could take it
for anything else; all other texts are written as JSON strings, which YAML's double quotes include.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_PLAIN = re.compile(r"[A-Za-z/][A-Za-z0-9_./*=+@-]*(?:[ ,;]+[A-Za-z0-9_./*=+@(-][A-Za-z0-9_./*=+@()-]*)*")
_RESERVED = frozenset({"y", "yes", "n", "no", "on", "off", "true", "false", "null", "nan", "inf"})
_UNSAFE = re.compile("[\x7f-\x9f\u2028\u2029\ufeff\ud800-\udfff\ufffe\uffff]")


def lines(value: object, indent: str = "") -> Iterator[str]:
    """Yield the lines of `value` (dict, list, str, int, float, bool, None), without line ends.

    Sequences inside mappings are not indented, as kubectl writes them.
    """
    if isinstance(value, dict) and value:
        for key, item in value.items():
            deeper = indent if isinstance(item, (list, tuple)) else indent + "  "
            yield from _entry(f"{indent}{scalar(key)}:", item, deeper)
    elif isinstance(value, (list, tuple)) and value:
        for item in value:
            yield from list_item(item, indent)
    else:
        yield indent + scalar(value)


def list_item(value: object, indent: str = "") -> Iterator[str]:
    """Yield the lines of `value` as an item of a sequence."""
    inner = lines(value, indent + "  ")
    yield f"{indent}- {next(inner)[len(indent) + 2 :]}"
    yield from inner


def scalar(value: object) -> str:
    """Return a text, number, truth value, null or empty collection on one line."""
    if not isinstance(value, str):
        return "[]" if value == () else json.dumps(value)
    if _PLAIN.fullmatch(value) and value.lower() not in _RESERVED:
        return value
    return _UNSAFE.sub(lambda match: f"\\u{ord(match[0]):04x}", json.dumps(value, ensure_ascii=False))


def _entry(head: str, item: object, indent: str) -> Iterator[str]:
    if isinstance(item, (dict, list, tuple)) and item:
        yield head
        yield from lines(item, indent)
    else:
        yield f"{head} {scalar(item)}"
