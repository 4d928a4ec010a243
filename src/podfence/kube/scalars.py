# SPDX-License-Identifier: Apache-2.0
"""What a YAML scalar means to kubectl: the rules of go-yaml v2 and of the JSON that kubectl makes of it.

Two steps. `resolve` and `resolve_tagged` give what go-yaml decodes; `json_value` and `json_key` what is
left of that once kubectl has turned the document into JSON: integral floats become integers, integers
beyond 64 bits floats, and mapping keys strings.
"""

from __future__ import annotations

import re
from typing import Final

Scalar = str | int | float | bool | None
"""A scalar as JSON has it."""

DEPTH_LIMIT: Final = 10_000
"""How deep kubectl lets a document nest."""

_INT64_MAX: Final = (1 << 63) - 1
_UINT64_MAX: Final = (1 << 64) - 1
_INT64_MIN: Final = -(1 << 63)
_EXACT: Final = 1 << 53

_STANDARD: Final = "tag:yaml.org,2002:"


class Special:
    """A scalar without a JSON value: the merge key, or a float that is no number."""

    __slots__ = ("text",)

    def __init__(self, text: str) -> None:
        self.text = text


MERGE: Final = Special("<<")
_INFINITY: Final = Special("+Inf")
_NEGATIVE_INFINITY: Final = Special("-Inf")
_NAN: Final = Special("NaN")
_SPECIAL_KEYS: Final = {"+Inf": ".inf", "-Inf": "-.inf", "NaN": ".nan", "<<": "<<"}

Resolved = Scalar | Special
"""A scalar as go-yaml has it; an int above int64 stands for Go's uint64."""

_WORDS: Final[dict[str, Resolved]] = {
    **dict.fromkeys(("y", "Y", "yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON"), True),
    **dict.fromkeys(("n", "N", "no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF"), False),
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys((".nan", ".NaN", ".NAN"), _NAN),
    **dict.fromkeys((".inf", ".Inf", ".INF", "+.inf", "+.Inf", "+.INF"), _INFINITY),
    **dict.fromkeys(("-.inf", "-.Inf", "-.INF"), _NEGATIVE_INFINITY),
}

_KINDS: Final = {type(None): "null", bool: "bool", int: "int", str: "str"}
_NUMERIC_STARTS: Final = frozenset("+-0123456789")
_WORD_STARTS: Final = frozenset("yYnNtTfFoO~.")

_INTEGER: Final = re.compile(r"([-+]?)(?:0[xX]([0-9a-fA-F]+)|0[bB]([01]+)|0[oO]?([0-7]+)|(0|[1-9][0-9]*))")
_BASES: Final = (16, 2, 8, 10)
_FLOAT: Final = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
# Seldom needed, and compiled only then.
_DOTTED_FLOAT: Final = r"\.[0-9]+(_[0-9]+)*([eE][-+]?[0-9]+(_[0-9]+)*)?"
_SIGNED_BINARY: Final = r"0b([-+][01]+)"
_BASE64: Final = r"[A-Za-z0-9+/]*={0,2}"
_TIMESTAMP: Final = (
    r"([0-9]{4})-([0-9]{1,2})-([0-9]{1,2})"
    r"(?:[Tt]([0-9]{1,2}):([0-9]{1,2}):([0-9]{1,2})(?:[.,][0-9]+)?(?:Z|[-+][0-9]{2}:[0-9]{2})"
    r"| ([0-9]{1,2}):([0-9]{1,2}):([0-9]{1,2})(?:[.,][0-9]+)?)?"
)

_LONGEST_SHARED: Final = 64
# 64 digits of any base are beyond 64 bits, and Python's own conversion of long texts is quadratic.
_LONGEST_INTEGER: Final = 64


class ScalarError(ValueError):
    """A scalar that kubectl refuses; the text is the message."""


class PlainScalars(dict[str, Resolved]):
    """The JSON values of plain scalars, by text; equal texts share one value, which saves most of the memory.

    Those without a JSON value (the merge key, infinities) are kept as they are, for the caller to judge.
    """

    def __missing__(self, text: str) -> Resolved:
        """Return the value of a text that is met for the first time."""
        resolved = resolve(text)
        value = resolved if isinstance(resolved, Special) else json_value(resolved)
        if len(text) <= _LONGEST_SHARED:
            self[text] = value
        return value


def resolve(text: str) -> Resolved:
    """Return what go-yaml v2 makes of a plain scalar without a tag."""
    if not text:
        return None
    first = text[0]
    if first in _NUMERIC_STARTS:
        return _WORDS[text] if text in _WORDS else _number(text)
    if first in _WORD_STARTS:
        if text in _WORDS:
            return _WORDS[text]
        if first == "." and re.fullmatch(_DOTTED_FLOAT, text):
            return _finite(text, text)
        return text
    return MERGE if text == "<<" else text


def _number(text: str) -> Resolved:
    digits = text.replace("_", "")
    integer = _integer(digits)
    if integer is not None:
        return integer
    if _FLOAT.fullmatch(digits):
        return _finite(digits, text)
    binary = re.fullmatch(_SIGNED_BINARY, digits)
    if binary and len(digits) <= _LONGEST_INTEGER:
        return int(binary[1], 2)
    return text


def _integer(digits: str) -> int | None:
    match = _INTEGER.fullmatch(digits)
    if not match:
        return None
    sign = match[1]
    for group, base in enumerate(_BASES, start=2):
        if match[group] is not None:
            significant = match[group].lstrip("0") or "0"
            if len(significant) > _LONGEST_INTEGER:
                return None
            value = int(significant, base)
            if sign == "-":
                return -value if -value >= _INT64_MIN else None
            return value if value <= (_INT64_MAX if sign else _UINT64_MAX) else None
    return None


def _finite(digits: str, text: str) -> float | str:
    value = float(digits)
    return text if value in (float("inf"), float("-inf")) else value


def resolve_tagged(tag: str, text: str) -> Resolved:
    """Return what go-yaml v2 makes of a scalar with a tag, plain or quoted; raises ScalarError."""
    name = tag.removeprefix(_STANDARD) if tag.startswith(_STANDARD) else ""
    if name == "binary":
        return _binary(text)
    if name not in {"bool", "int", "float", "null", "timestamp"}:
        return text
    if name == "timestamp" and _is_timestamp(text):
        return text
    found = resolve(text)
    if found is MERGE:
        found = "<<"
    kind = _KINDS.get(type(found), "float")
    if kind == "int" and name == "float" and isinstance(found, int) and found <= _INT64_MAX:
        return float(found)
    if kind != name:
        raise ScalarError(f"cannot decode !!{kind} `{text}` as a !!{name}")
    return found


def _binary(text: str) -> str:
    digits = text.replace("\n", "").replace("\r", "")
    if len(digits) % 4 or not re.fullmatch(_BASE64, digits):
        raise ScalarError("!!binary value contains invalid base64 data")
    import base64  # noqa: PLC0415  seldom needed

    return re.sub("[\udc80-\udcff]", "\ufffd", base64.b64decode(digits).decode("utf-8", "surrogateescape"))


def _is_timestamp(text: str) -> bool:
    import datetime as dt  # noqa: PLC0415  only a !!timestamp needs it

    match = re.fullmatch(_TIMESTAMP, text)
    if not match:
        return False
    year, month, day = (int(part) for part in match.group(1, 2, 3))
    hour, minute, second = [int(part) for part in match.group(4, 5, 6, 7, 8, 9) if part is not None] or [0, 0, 0]
    try:
        # Only the ranges matter; Go knows a leap year 0.
        dt.datetime(year or 4, month, day, hour, minute, second)  # noqa: DTZ001 - no moment, only a date
    except ValueError:
        return False
    return True


def json_value(value: Resolved) -> Scalar:
    """Return the JSON value of a resolved scalar; raises ScalarError for infinities and NaN."""
    if isinstance(value, float):
        return json_number(value)
    if isinstance(value, int) and value > _INT64_MAX:
        return float(value)
    if isinstance(value, Special):
        if value is MERGE:
            return "<<"
        raise ScalarError(f"unsupported value: {value.text}")
    return value


def json_number(value: float) -> int | float:
    """Return a float as it comes back from Go's JSON: integral ones within int64 are integers."""
    if not value.is_integer() or not -1e21 < value < 1e21:
        return value
    if -_EXACT <= value <= _EXACT:
        return int(value)
    from decimal import Decimal  # noqa: PLC0415  seldom needed

    # Go prints the shortest digits that name the float, and fills up with zeros.
    shortest = int(Decimal(repr(value)))
    return shortest if _INT64_MIN <= shortest <= _INT64_MAX else value


def json_key(value: Resolved) -> str:
    """Return the JSON key of a resolved scalar; raises ScalarError for null and integers above int64."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Special):
        return _SPECIAL_KEYS[value.text]
    if isinstance(value, float):
        return _float_key(value)
    if value is None:
        raise ScalarError("a mapping key is null")
    if value > _INT64_MAX:
        raise ScalarError(f"the mapping key {value} is too large a number")
    return str(value)


def _float_key(value: float) -> str:
    """Return a float as Go's ``FormatFloat(value, 'g', -1, 32)`` writes it."""
    import struct  # noqa: PLC0415  seldom needed

    try:
        single: float = struct.unpack("<f", struct.pack("<f", value))[0]
    except OverflowError:
        return ".inf" if value > 0 else "-.inf"
    if single == 0:
        return "-0" if str(single).startswith("-") else "0"
    for precision in range(9):
        text = f"{single:.{precision}e}"
        if struct.pack("<f", float(text)) == struct.pack("<f", single):
            break
    mantissa, _, exponent = text.partition("e")
    power = int(exponent)
    if -4 <= power < 6:
        return f"{float(text):.{max(precision - power, 0)}f}"
    return f"{mantissa}e{'-' if power < 0 else '+'}{abs(power):02d}"
