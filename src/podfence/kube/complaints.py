# SPDX-License-Identifier: Apache-2.0
"""What is wrong with a text that is no document: libyaml's complaints in plain words, with the place and a remedy."""

from __future__ import annotations

import re
from typing import Final

_FORBIDDEN: Final = "[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]"

_REMEDIES: Final = {
    "mapping values are not allowed in this context": "check the indentation, or quote the value that contains ': '",
    "could not find expected ':'": "write 'key: value', or indent a text that goes on over several lines",
    "did not find expected key": "check the indentation",
    "did not find expected '-' indicator": "check the indentation",
    "found unknown escape character": "double the backslash, or use single quotes",
    "found unexpected end of stream": "close the quote",
    "found unexpected document indicator": "close the quote",
    "did not find expected ',' or ']'": "add the missing ',' or ']'",
    "did not find expected ',' or '}'": "add the missing ',' or '}'",
    "block sequence entries are not allowed in this context": "start the list on a line of its own",
    "did not find expected <document start>": "take out the % directive; kubectl reads YAML 1.1 without any",
    "found a tab character where an indentation space is expected": "indent with spaces",
    "found a tab character that violates indentation": "indent with spaces",
    "did not find expected alphabetic or numeric character": "quote the value",
    "found unexpected ':'": "put a space after the colon, or quote the value",
    "found undefined tag handle": "take out the tag",
    "found unknown directive name": "quote the value, or take out the % directive",
    "found incompatible YAML document": "take out the % directive; kubectl reads YAML 1.1 without any",
    "did not find expected node content": "quote the value",
}
_REMEDY_BY_CHARACTER: Final = {"\t": "indent with spaces", **dict.fromkeys("@`%", "quote the value")}
_TAGS: Final = ("{{", "${", "{%", "<%")
_WITHIN: Final = {
    "while parsing a flow sequence": "the list that starts",
    "while parsing a flow mapping": "the mapping that starts",
    "while parsing a block mapping": "the mapping that starts",
    "while parsing a block collection": "the list that starts",
    "while scanning a quoted scalar": "the quoted text that starts",
    "while scanning a simple key": "the key",
}


class DocumentError(ValueError):
    """A text without a JSON value: what is wrong, at which offset, and what helps; inside what, which `began` where."""

    def __init__(self, message: str, offset: int, remedy: str = "", inside: str = "", began: int = 0) -> None:
        super().__init__(message)
        self.offset = offset
        self.remedy = remedy
        self.inside = inside
        self.began = began


def explain(error: Exception, text: str) -> DocumentError:
    """Return what an error of PyYAML says about `text`, the document it comes from."""
    # Compiled here, because it takes longer than most files do.
    forbidden = re.search(_FORBIDDEN, text)
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    if mark is None or (forbidden and forbidden.start() < mark.index):
        return _control_character(text, forbidden)
    problem = str(getattr(error, "problem", None) or "this is not YAML").strip().replace("hexdecimal", "hexadecimal")
    start = getattr(error, "context_mark", None)
    context = _WITHIN.get(str(getattr(error, "context", "")), "")
    # At the end of the text, the last line with something on it is a better place than the one after.
    offset = min(mark.index, len(text.rstrip()))
    message = problem
    inside, began = (context, start.index) if context and start is not None and start.line != mark.line else ("", 0)
    character = text[offset : offset + 1]
    remedy = _REMEDIES.get(problem, "")
    if problem == "found character that cannot start any token":
        problem_text = "a tab" if character == "\t" else repr(character)
        message = f"found character that cannot start any token: {problem_text}"
        remedy = _REMEDY_BY_CHARACTER.get(character, "")
    if problem == "did not find expected node content" and not character.strip():
        remedy = "close the bracket"
    return DocumentError(message, offset, template_remedy(text, offset) or remedy, inside, began)


def template_remedy(text: str, offset: int) -> str:
    """Return what to do about a line with a tag of a template, which YAML reads as a mapping; "" for other lines."""
    start = text.rfind("\n", 0, offset) + 1
    end = text.find("\n", offset)
    line = text[start : end if end >= 0 else len(text)]
    return "render the template first" if any(tag in line for tag in _TAGS) else ""


def _control_character(text: str, forbidden: re.Match[str] | None) -> DocumentError:
    if forbidden is None:
        return DocumentError("this is not YAML", 0)
    code = ord(text[forbidden.start()])
    return DocumentError(f"control characters are not allowed: U+{code:04X}", forbidden.start())
