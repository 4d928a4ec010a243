# SPDX-License-Identifier: Apache-2.0
"""Objects as Go's decoder reads them: unknown fields are dropped and named, wrong types refused, empty values gone.

What comes out is what an API server stores and sends: no null but where Go's encoder writes one.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
import sys
from typing import TYPE_CHECKING, Any, Final

from podfence.kube.validation.findings import go_quote
from podfence.lab.apiserver.quantities import canonical

if TYPE_CHECKING:
    from podfence.lab.apiserver.fields import Field, Type

_BAD_QUANTITY: Final = "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
_TIME: Final = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)", re.ASCII)
_SURROGATE: Final = re.compile(r"\\u[dD][89a-fA-F]")
_SHORT: Final = 64
_ROOT: Final = ("apiVersion", "kind")
# What Go could convert, and its decoder of JSON does not.
_CONVERTIBLE: Final = {"string": ("int64",), "int": ("int64", "float64")}
# How Go's messages name the types that its decoder wants for these.
_NAMED: Final = {"intstr": "int32", "time": "string", "micro": "string"}
# What Go calls the type of a JSON value, and what its decoder of JSON calls it.
_OBJECT: Final = ("map", "object")
_WORDS: Final[dict[type, tuple[str, str]]] = {
    type(None): ("nil", "null"),
    bool: ("bool", "bool"),
    str: ("string", "string"),
    int: ("int64", "number"),
    float: ("float64", "number"),
    list: ("slice", "array"),
}
_EMPTY: Final = {"string": "", "bool": False, "int": 0, "quantity": "0", "intstr": 0}


class WrongTypeError(ValueError):
    """A value of another type than its field; the text is that of Go's JSON decoder, `short` that of its converter."""

    def __init__(self, message: str, short: str = "") -> None:
        """Refuse with both texts."""
        super().__init__(message)
        self.short = short or message


class Doubled(dict[str, Any]):
    """A JSON object some of whose keys were given several times."""

    keys_given_twice: tuple[str, ...] = ()


def parse(body: bytes) -> Any:  # noqa: ANN401 - any JSON value
    """Return the value of a JSON text, the last of equal keys counts. Raises ValueError."""
    text = body.decode("utf-8", "replace")
    value = json.loads(text, object_pairs_hook=_object, parse_constant=_refuse_constant)
    return _sound(value) if _SURROGATE.search(text) else value


def _sound(value: Any) -> Any:  # noqa: ANN401 - any JSON value
    """Return a value without halves of surrogate pairs, which Go replaces too."""
    match value:
        case str():
            return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        case list():
            return [_sound(item) for item in value]
        case dict():
            return {_sound(key): _sound(item) for key, item in value.items()}
    return value


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) == len(pairs):
        return found
    doubled = Doubled(found)
    names = [key for key, _ in pairs]
    doubled.keys_given_twice = tuple(dict.fromkeys(key for key in names if names.count(key) > 1))
    return doubled


def _refuse_constant(text: str) -> None:
    raise ValueError(f"invalid character '{text[0]}' looking for beginning of value")


class Reader:
    """Reads one object. `complaints` then has what strict validation refuses, in the order of the text."""

    def __init__(self) -> None:
        """Find nothing wrong yet."""
        self.complaints: list[str] = []

    def read(self, value: dict[str, Any], of: Type) -> dict[str, Any]:
        """Return an object with its apiVersion and kind as they were given. Raises WrongTypeError."""
        found: dict[str, Any] = {key: value[key] for key in _ROOT if key in value}
        return found | self._struct(value, of, "", "", root=True)

    def _struct(self, value: dict[str, Any], of: Type, at: str, go: str, *, root: bool = False) -> dict[str, Any]:
        fields = of.struct.fields
        name = of.text.rpartition(".")[2]
        read: dict[str, Any] = {}
        twice = value.keys_given_twice if isinstance(value, Doubled) else ()
        for key, item in value.items():
            place = f"{at}.{key}" if at else key
            if key in twice:
                self.complaints.append(f"duplicate field {go_quote(place)}")
            row = fields.get(key)
            if row is not None:
                inner = f"{go}.{key}" if go else key
                read[key] = self._value(item, row.type, place, inner, name)
            elif not root or key not in _ROOT:
                self.complaints.append(f"unknown field {go_quote(place)}")
        return {
            key: read.get(key) if read.get(key) is not None else _zero(row.type)
            for key, row in fields.items()
            if not _is_left_out(row, read.get(key))
        }

    def _value(self, value: Any, of: Type, at: str, go: str, struct: str) -> Any:  # noqa: ANN401 - any JSON value
        if value is None or of.form == "fields":
            return value
        if not _fits(value, of):
            name = _NAMED.get(of.form, of.text)
            found = word(value, with_number=of.form in ("int", "intstr"))
            message = f"json: cannot unmarshal {found} into Go struct field {struct}.{go} of type {name}"
            raise WrongTypeError(message, _short(value, of, name))
        match of.form:
            case "struct":
                return self._struct(value, of, at, go)
            case "list":
                held = of.held
                read = [self._value(item, held, f"{at}[{index}]", go, struct) for index, item in enumerate(value)]
                return [_zero(held) if item is None else item for item in read]
            case "map":
                held = of.held
                if isinstance(value, Doubled):
                    self.complaints += [f"duplicate field {go_quote(f'{at}.{key}')}" for key in value.keys_given_twice]
                items = {
                    sys.intern(key): self._value(item, held, f"{at}.{key}", go, struct) for key, item in value.items()
                }
                return {key: _zero(held) if item is None else item for key, item in items.items()}
            case "bool" | "int" | "intstr":
                return value
        return _text(value, of)


def _fits(value: object, of: Type) -> bool:
    """Return whether a value is of the type of JSON that a field wants."""
    match of.form:
        case "struct" | "map":
            return isinstance(value, dict)
        case "list":
            return isinstance(value, list)
        case "bool":
            return isinstance(value, bool)
        case "quantity":
            return True
        case "intstr" if isinstance(value, str):
            return True
        case "int" | "intstr":
            limit = 2**31 if of.form == "intstr" else 2 ** (of.bits - 1)
            return isinstance(value, int) and not isinstance(value, bool) and -limit <= value < limit
    return isinstance(value, str)


def _text(value: Any, of: Type) -> Any:  # noqa: ANN401 - any JSON value
    """Return what is stored of a text. Raises WrongTypeError if its form is wrong."""
    match of.form:
        case "quantity":
            text = value if isinstance(value, str) else json.dumps(value)
            if (written := canonical(text)) is None:
                raise WrongTypeError(_BAD_QUANTITY)
            return written
        case "time" | "micro" if not _TIME.fullmatch(value):
            shown = json.dumps(value)
            raise WrongTypeError(f'parsing time {shown} as "2006-01-02T15:04:05Z07:00": cannot parse {shown} as "2006"')
        case "bytes":
            try:
                base64.b64decode(value, validate=True)
            except (binascii.Error, ValueError):
                raise WrongTypeError("illegal base64 data at input byte 0") from None
        case "string" if len(value) <= _SHORT:
            # Objects have many short texts in common, and a store keeps each once.
            return sys.intern(value)
    return value


def _short(value: object, of: Type, name: str) -> str:
    found = go_kind(value)
    if of.form in ("list", "map"):
        return f"cannot restore {'slice' if of.form == 'list' else 'map'} from {found}"
    if of.form == "struct":
        return f"cannot restore struct from: {found}"
    if found in _CONVERTIBLE.get(of.form, ()):
        return f"cannot convert {found} to {name}"
    return f"unrecognized type: {'string' if of.form == 'string' else name}"


def go_kind(value: object) -> str:
    """Return Go's word for the type of a JSON value."""
    return _WORDS.get(type(value), _OBJECT)[0]


def word(value: object, *, with_number: bool = False) -> str:
    """Return what Go's decoder of JSON calls a value, a number with its digits or without."""
    found = _WORDS.get(type(value), _OBJECT)[1]
    return f"number {json.dumps(value)}" if with_number and found == "number" else found


def _zero(of: Type) -> Any:  # noqa: ANN401 - any JSON value
    """Return how Go writes a value that was not given."""
    if of.pointer:
        return None
    if of.form == "struct":
        return {key: _zero(row.type) for key, row in of.struct.fields.items() if not _is_left_out(row, None)}
    return _EMPTY.get(of.form)


def _is_left_out(row: Field, value: Any) -> bool:  # noqa: ANN401 - any JSON value
    """Return whether Go's encoder leaves a field with this value out."""
    if not row.omit:
        return False
    of = row.type
    if of.pointer:
        return value is None
    if of.form in ("struct", "time", "micro", "intstr", "quantity"):
        return row.omit_zero and (value is None or value == _zero(of))
    return not value
