# SPDX-License-Identifier: Apache-2.0
"""The fields of the API's types, as Kubernetes declares them: what reading, patches and OpenAPI go by.

`fields.txt` has one block for each type of Go. A line of a block is one field: its name in JSON ("~" for the fields
of another type, which JSON has in the same object), its number in protobuf, its type, and marks:

- ``required``: objects must have it.
- ``omit``: an empty value is left out of JSON, unless it is a struct; with ``omitzero`` a struct too.
- ``merge=KEY``: a strategic merge patch merges the list by this key, or its values if there is no key.
- ``retain``: such a patch says which keys of an item stay.
- ``map=KEY,KEY`` and ``set``: server-side apply tracks the items of the list; it owns all other lists as a whole.
- ``whole``, at a field or a type: server-side apply owns it as a whole.

A line with `=` says what a type is that is no struct. All types without a line are texts.
"""

from __future__ import annotations

import re
from functools import cache
from importlib.resources import files
from typing import Any, Final, Literal, NamedTuple

Form = Literal[
    "string", "bool", "int", "bytes", "time", "micro", "quantity", "intstr", "fields", "list", "map", "struct",
]  # fmt: skip

_SPECIAL: Final[dict[str, Form]] = {
    "string": "string",
    "bool": "bool",
    "int32": "int",
    "int64": "int",
    "[]byte": "bytes",
    "meta/v1.Time": "time",
    "meta/v1.MicroTime": "micro",
    "meta/v1.FieldsV1": "fields",
    "api/resource.Quantity": "quantity",
    "util/intstr.IntOrString": "intstr",
}
_PACKAGE: Final = re.compile(r"[\w.]+/")


class Type(NamedTuple):
    """A type: its name in Go's messages, its form in JSON, whether Go has a pointer to it, and what it holds."""

    text: str
    form: Form
    pointer: bool = False
    item: str = ""
    bits: int = 64

    @property
    def held(self) -> Type:
        """The type of an item of a list, or of a value of a map."""
        return type_of(self.item)

    @property
    def struct(self) -> Struct:
        """The fields of a struct."""
        return struct_of(self.item)


class Field(NamedTuple):
    """One field of a struct."""

    name: str
    number: int
    type: Type
    omit: bool = False
    omit_zero: bool = False
    required: bool = False
    merge: str | None = None
    retain: bool = False
    keys: tuple[str, ...] = ()
    is_set: bool = False
    whole: bool = False


class Struct(NamedTuple):
    """A struct: its fields by their name in JSON, and what protobuf has by number; `whole` is for apply."""

    name: str
    fields: dict[str, Field]
    wire: dict[int, Field]
    whole: bool


@cache
def _blocks() -> tuple[dict[str, list[str]], dict[str, str], frozenset[str]]:
    structs: dict[str, list[str]] = {}
    aliases: dict[str, str] = {}
    whole: set[str] = set()
    name = ""
    for line in files("podfence.lab.apiserver").joinpath("fields.txt").read_text(encoding="utf-8").splitlines():
        if line.startswith("#"):
            continue
        if line.startswith(" "):
            structs[name].append(line[1:])
        elif " = " in line:
            alias, _, of = line.partition(" = ")
            aliases[alias] = of
        else:
            name, _, mark = line.partition(" ")
            structs[name] = []
            if mark:
                whole.add(name)
    return structs, aliases, frozenset(whole)


@cache
def type_of(text: str) -> Type:
    """Return a type by its name, such as ``[]core/v1.Container``."""
    shown = _PACKAGE.sub("", text.removeprefix("*"))
    if text.startswith("*"):
        return type_of(text[1:])._replace(pointer=True)
    if text in _SPECIAL:
        return Type(shown, _SPECIAL[text], bits=32 if text == "int32" else 64)
    if text.startswith("[]"):
        return Type(shown, "list", item=text[2:])
    if text.startswith("map["):
        return Type(shown, "map", item=text[text.index("]") + 1 :])
    structs, aliases, _ = _blocks()
    if text in structs:
        return Type(shown, "struct", item=text)
    return type_of(aliases.get(text, "string"))._replace(text=shown)


@cache
def struct_of(name: str) -> Struct:
    """Return the fields of a struct, such as ``core/v1.Pod``."""
    fields: dict[str, Field] = {}
    wire: dict[int, Field] = {}
    for line in _blocks()[0][name]:
        field, number, text, *marks = line.split(" ")
        if field == "~":
            inner = struct_of(text.removeprefix("*"))
            fields |= inner.fields
            wire[int(number)] = Field("", int(number), type_of(text))
            continue
        row = _field(field, int(number), type_of(text), marks)
        fields[field] = wire[row.number] = row
    return Struct(name, fields, wire, name in _blocks()[2])


def _field(name: str, number: int, of: Type, marks: list[str]) -> Field:
    given = dict(mark.partition("=")[::2] for mark in marks)
    return Field(
        name,
        number,
        of,
        omit="omit" in given or "omitzero" in given,
        omit_zero="omitzero" in given,
        required="required" in given,
        merge=given.get("merge"),
        retain="retain" in given,
        keys=tuple(given["map"].split(",")) if "map" in given else (),
        is_set="set" in given,
        whole="whole" in given,
    )


_GROUPS: Final = {"": "core", "rbac.authorization.k8s.io": "rbac", "extensions": "networking"}


def kind_type(group: str, kind: str) -> Type:
    """Return the type of the objects of a kind. Raises KeyError for one that is not known."""
    package = _GROUPS.get(group) or group.partition(".")[0]
    return type_of(struct_of(f"{package}/v1.{kind}").name)


def value_at(obj: Any, path: str) -> Any:  # noqa: ANN401 - any JSON value
    """Return the value at a path such as ``spec.selector`` of an object, None if there is none."""
    for step in path.split("."):
        obj = obj.get(step) if isinstance(obj, dict) else None
    return obj


def without(obj: dict[str, Any], *keys: str) -> dict[str, Any]:
    """Return an object without some of its fields."""
    return {key: value for key, value in obj.items() if key not in keys}
