# SPDX-License-Identifier: Apache-2.0
"""Objects from what nft lists.

JSON has everything but two things: nft 1.0.6 leaves the comments of tables and chains out of it, and it gives
rules as expression trees. So those come from the text form, where every rule ends with its handle.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from podfence.nft.chain import Chain, Hook
from podfence.nft.datatypes import DATATYPES
from podfence.nft.element import Element, Key, Verdict
from podfence.nft.errors import NftError
from podfence.nft.rule import Rule
from podfence.nft.runner import RuleCounter
from podfence.nft.sets import DYNAMIC, Map, Set, canonical

if TYPE_CHECKING:
    from collections.abc import Iterator

_CHAIN = re.compile(r"\tchain (\S+) \{(?: # handle \d+)?")
_OTHER = re.compile(r"\t\w+ \S+ \{(?: # handle \d+)?")
_COMMENT = re.compile(r'\t+comment "([^"]*)"')
_HOOK = re.compile(r"\t\ttype \w+ hook .*;")
_RULE = re.compile(r'(.*?)(?: comment "([^"]*)")? # handle (\d+)', re.DOTALL)

Json = Any
"""A value of nft's JSON, whose shape depends on where it stands."""


class Texts(NamedTuple):
    """What only the text form tells: comments (the table's under "") and rules by chain."""

    comments: dict[str, str]
    rules: dict[str, list[Rule]]


def objects(output: bytes, kind: str) -> Iterator[Json]:
    """Yield the objects of a kind ("chain", "rule", …) from nft's JSON; raise NftError if it is none."""
    try:
        listed = msgspec.json.decode(output)["nftables"]
    except (msgspec.DecodeError, KeyError, TypeError) as error:
        raise NftError(f"nft's JSON cannot be read: {error}") from error
    return (item[kind] for item in listed if kind in item)


def chain(item: Json, texts: Texts) -> Chain:
    """Return the chain that a JSON object and the text form describe."""
    hook = None
    if "hook" in item:
        hook = Hook(item["type"], item["hook"], item["prio"], item.get("policy", "accept"))
    return Chain(item["name"], hook, texts.comments.get(item["name"]))


def container(item: Json) -> Set | Map:
    """Return the set or map that a JSON object describes."""
    types = _names(item["type"])
    listed = item.get("flags", ())
    flags = frozenset((listed,) if isinstance(listed, str) else listed)  # later versions write a single flag bare
    if "size" in item:
        flags |= DYNAMIC  # nft 1.0.6 leaves this flag out, and only these sets have a size
    timeout, comment = item.get("timeout"), item.get("comment")
    if "map" in item:
        return Map(item["name"], types, _names(item["map"]), flags, timeout, comment)
    return Set(item["name"], types, flags, timeout, comment)


def elements(item: Json) -> tuple[Element, ...]:
    """Return the elements in the JSON object of a set or map, in the order of their keys."""
    owner = container(item)
    found = [canonical(owner, _element(owner, one)) for one in item.get("elem", ())]
    return in_order(owner, found)


def in_order(owner: Set | Map, items: list[Element]) -> tuple[Element, ...]:
    """Return canonical elements in the order of their keys."""
    kinds = [DATATYPES[name] for name in owner.types]
    return tuple(sorted(items, key=lambda item: [kind.number(p) for kind, p in zip(kinds, item.key, strict=True)]))


def counters(output: bytes) -> tuple[RuleCounter, ...]:
    """Return the counters of the rules in nft's JSON: of each the first that it has."""
    found = (
        (rule, [item["counter"] for item in rule["expr"] if "counter" in item]) for rule in objects(output, "rule")
    )
    return tuple(
        RuleCounter(rule["chain"], rule["handle"], rule.get("comment"), figures[0]["packets"], figures[0]["bytes"])
        for rule, figures in found
        if figures
    )


def texts(output: str) -> Texts:
    """Return what the text form of one table or chain tells, listed with handles and without figures."""
    comments: dict[str, str] = {}
    rules: dict[str, list[Rule]] = {}
    current: str | None = ""
    pending = ""
    for line in output.split("\n"):
        if opened := _CHAIN.fullmatch(line):
            current, pending = opened[1], ""
            rules[current] = []
        elif _OTHER.fullmatch(line):
            current = None
        elif current is not None and not pending and (found := _COMMENT.fullmatch(line)):
            comments[current] = found[1]
        elif current and line.startswith("\t\t") and not _HOOK.fullmatch(line):
            pending = f"{pending} {line.strip()}" if pending else line.strip()
            if complete := _RULE.fullmatch(pending):
                rules[current].append(Rule(current, complete[1], complete[2], int(complete[3])))
                pending = ""
    return Texts(comments, rules)


def _names(listed: str | list[str]) -> Key:
    return tuple(listed.split(" . ")) if isinstance(listed, str) else tuple(listed)


def _element(owner: Set | Map, item: Json) -> Element:
    key, value = (item[0], item[1]) if isinstance(item, list) else (item, None)
    details: Json = key["elem"] if isinstance(key, dict) and "elem" in key else {"val": key}
    pairs = [_interval(name, part) for name, part in zip(owner.types, _parts(details["val"]), strict=True)]
    first, last = tuple(pair[0] for pair in pairs), tuple(pair[1] for pair in pairs)
    return Element(first, last, _value(owner, value), details.get("comment"), details.get("timeout"))


def _parts(value: Json) -> list[Json]:
    return list(value["concat"]) if isinstance(value, dict) and "concat" in value else [value]


def _interval(name: str, part: Json) -> tuple[str, str]:
    """Return the first and the last value of a part of a key."""
    if not isinstance(part, dict):
        return str(part), str(part)
    if "range" in part:
        first, last = part["range"]
        return str(first), str(last)
    kind = DATATYPES[name]
    first = kind.number(str(part["prefix"]["addr"]))
    return kind.write(first), kind.write(first | (1 << kind.bits - part["prefix"]["len"]) - 1)


def _value(owner: Set | Map, value: Json) -> Verdict | Key | None:
    if isinstance(owner, Set):
        return None
    if isinstance(value, dict) and "concat" not in value:
        ((kind, target),) = value.items()
        return Verdict(kind, target["target"] if target else None)
    return tuple(str(part) for part in _parts(value))
