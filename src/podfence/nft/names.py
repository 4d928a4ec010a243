# SPDX-License-Identifier: Apache-2.0
"""Identifiers, comments and numbers as nft takes them."""

from __future__ import annotations

import hashlib
import re
from typing import Final

from podfence.nft.errors import InvalidError
from podfence.nft.keywords import KEYWORDS

NAME_LIMIT: Final = 255
"""The longest name that the kernel stores."""

COMMENT_LIMIT: Final = 127
"""The longest comment, in bytes of UTF-8, that every supported nft stores."""

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9/_.-]*", re.ASCII)
_PREFIX = re.compile(r"[A-Za-z][A-Za-z0-9]*", re.ASCII)
_TO_ESCAPE = re.compile(rb"[^A-Za-z0-9.-]")
_DIGEST: Final = 40


def check_name(name: str, what: str) -> None:
    """Raise InvalidError unless nft takes `name` as the name of `what` ("table", "chain", …)."""
    if not _NAME.fullmatch(name):
        raise InvalidError(
            f"{name!r} cannot be the name of a {what}: a letter or _ comes first, then letters, digits, / _ . and -"
        )
    if name in KEYWORDS:
        raise InvalidError(f"{name!r} cannot be the name of a {what}: it is a word of nft's language")
    if len(name) > NAME_LIMIT:
        raise InvalidError(f"the name of a {what} has {len(name)} characters, and {NAME_LIMIT} is the limit: {name!r}")


def identifier(prefix: str, *parts: str) -> str:
    """Return a valid name made of `prefix` and any texts; different parts give different names.

    Letters, digits, dots and dashes stand for themselves, so names of Kubernetes objects stay readable;
    every other byte is written `/` and two hexadecimal digits, which leaves `_` to separate the parts.
    What is too long is cut, and ends with `/h` and a digest of the whole.

    Raises InvalidError if `prefix` is not letters and digits, or without parts (the prefix may be a keyword).
    """
    if not _PREFIX.fullmatch(prefix) or not parts:
        raise InvalidError(f"an identifier needs a prefix of letters and digits, and a part: {(prefix, *parts)!r}")
    escaped = (
        _TO_ESCAPE.sub(lambda byte: b"/%02x" % ord(byte[0]), part.encode("utf-8", "surrogatepass")).decode("ascii")
        for part in parts
    )
    name = "_".join((prefix, *escaped))
    if len(name) > NAME_LIMIT:
        digest = hashlib.sha256(name.encode("ascii")).hexdigest()[:_DIGEST]
        name = f"{name[: NAME_LIMIT - _DIGEST - 2]}/h{digest}"
    check_name(name, "identifier")
    return name


def check_comment(comment: str | None) -> None:
    """Raise InvalidError unless `comment` is None or a text that nft stores and gives back unchanged."""
    if comment is None:
        return
    if not comment or '"' in comment or not comment.isprintable():
        raise InvalidError(f"a comment is not empty and holds no quotation mark and no control character: {comment!r}")
    if len(comment.encode()) > COMMENT_LIMIT:
        raise InvalidError(f"a comment has at most {COMMENT_LIMIT} bytes: {comment!r}")


def comment_text(comment: str | None) -> str:
    """Return ` comment "…"`, or nothing for None."""
    return "" if comment is None else f' comment "{comment}"'


def block(*clauses: str) -> str:
    """Return ` { a; b; }` of the clauses that are not empty, or nothing."""
    kept = [clause for clause in clauses if clause]
    return f" {{ {'; '.join(kept)}; }}" if kept else ""
