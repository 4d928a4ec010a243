# SPDX-License-Identifier: Apache-2.0
"""From a node's program to the objects of its table: groups, shared sets, and which address is in which group."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, Final, Literal, TypeVar
from weakref import WeakKeyDictionary

from podfence.dataplane.bound import bound
from podfence.dataplane.groups import MOST_SHARED
from podfence.dataplane.hooks import fixed
from podfence.dataplane.objects import FAMILIES, RESET, NameTakenError, Objects, short
from podfence.dataplane.references import References
from podfence.dataplane.ruleset import Ruleset, digest
from podfence.dataplane.verdicts import Verdicts, cut
from podfence.nft.element import goto, jump
from podfence.nft.names import COMMENT_LIMIT, identifier
from podfence.nft.sets import INTERVAL, Map, Set
from podfence.policy.identity import group_text
from podfence.policy.verdict import Direction
from podfence.sets import AddressSet, PortSet
from podfence.sets.addresses import family_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from podfence.dataplane.links import Links
    from podfence.dataplane.program import (
        GroupKey,
        GroupProgram,
        NodeProgram,
        PortProgram,
        ProgramChange,
        Ranges,
        SharedKey,
    )
    from podfence.dataplane.ruleset import ChainBody, ElementKey, SetBody
    from podfence.dataplane.settings import Settings
    from podfence.nft.element import Verdict
    from podfence.sets.addresses import Family

LOG_PREFIX_LIMIT: Final = 120
_LOG_LIMIT: Final = "limit rate 20/second burst 100 packets"
# For each group, to protect the processor; whoever listens leaves out what repeats.

_SPACES: Final[dict[Family, tuple[int, int]]] = {4: AddressSet.V4.spans[0], 6: AddressSet.V6.spans[0]}
_BINDING: Final = "binding"
"""The part that binds links."""

_Body = TypeVar("_Body", "ChainBody", "SetBody")

_Table = tuple[Objects, tuple[tuple[str, str], ...]]
"""The objects of a table of ranges, and the names of its maps with the word that rules have for their family."""

_Sets = tuple[tuple["SharedKey", "PortProgram"], ...]
_Chain = tuple[Objects, str]
_MOST_CHAINS: Final = 64
"""How many chains that ask sets are kept, to be made once for all groups that have them."""

_Tables = WeakKeyDictionary["Ranges", _Table]


class Builder:
    """Makes rulesets out of the programs of one node; what a program keeps is not made again."""

    def __init__(self, settings: Settings) -> None:
        """Make nothing yet."""
        self._settings = settings
        self._parts: dict[GroupKey | SharedKey | Literal["binding"], Objects] = {}
        self._entries: dict[GroupKey, Verdict] = {}
        self._tables: dict[Direction, _Tables] = {direction: WeakKeyDictionary() for direction in Direction}
        self._chains: dict[Direction, dict[_Sets, _Chain]] = {direction: {} for direction in Direction}
        self._chain_users = References[str]()
        self._set_users = References[str]()
        self._links: Links | None = None
        self._bound_by: tuple[object, ...] = ()
        self._forward: tuple[str, ...] = ()
        self._built = Ruleset()

    def build(self, program: NodeProgram, change: ProgramChange | None = None) -> Ruleset:
        """Return the objects that enforce a program.

        `change` says what differs in it since the last call, and only that is made again; the first call has none.
        """
        result = Objects(dict(self._built.chains), dict(self._built.sets))
        for shared in program.sets if change is None else change.sets:
            addresses = program.sets.get(shared)
            self._put(shared, Objects() if addresses is None else _shared(shared, addresses), result)
        for key in program.groups if change is None else change.groups:
            group = program.groups.get(key)
            if group is None:
                self._put(key, Objects(), result)
                del self._entries[key]
            else:
                name = group_name(key)
                tables, chains = self._tables[key.direction], self._chains[key.direction]
                made = _GroupObjects(key, name, self._settings, tables, chains, result).make(group)
                self._put(key, made, result)
                self._entries[key] = goto(name)
        if change is None or change.addresses:
            self._put_binding(program, result)
            result.update(fixed(program, self._settings.label, self._forward))
            self._place(program, result)
        self._built = Ruleset(result.chains, result.sets)
        return self._built

    def bind(self, links: Links, program: NodeProgram) -> Ruleset:
        """Return the objects of the last call of `build` with these links bound, in the place of others."""
        self._links = None if links.is_empty else links
        result = Objects(dict(self._built.chains), dict(self._built.sets))
        before = self._forward
        self._put_binding(program, result)
        if self._forward != before:
            result.update(fixed(program, self._settings.label, self._forward))
        self._built = Ruleset(result.chains, result.sets)
        return self._built

    def _put_binding(self, program: NodeProgram, result: Objects) -> None:
        """Let links be bound as they are now, if that is made of anything else than the last time."""
        by = (self._links, program.nodes, program.pod_ranges)
        if by == self._bound_by:
            return
        self._bound_by = by
        made, self._forward = Objects(), ()
        if self._links is not None:
            made, self._forward = bound(self._links, self._settings, program)
        self._put(_BINDING, made, result)

    def _put(self, key: GroupKey | SharedKey | Literal["binding"], made: Objects, result: Objects) -> None:
        """Let a part be made of these objects; those of its last ones that no part has any more go.

        Raises NameTakenError if another part has something else under one of the names.
        """
        before = self._parts.get(key, Objects())
        _refuse_taken(self._chain_users, result.chains, before.chains, made.chains)
        _refuse_taken(self._set_users, result.sets, before.sets, made.sets)
        self._parts.pop(key, None)
        if made.chains or made.sets:
            self._parts[key] = made
        result.update(made)
        for name in _moved(self._chain_users, before.chains, made.chains):
            del result.chains[name]
        for name in _moved(self._set_users, before.sets, made.sets):
            del result.sets[name]

    def _place(self, program: NodeProgram, result: Objects) -> None:
        placed = Objects()
        for direction, table in program.group_of.items():
            for family, _, types in FAMILIES:
                entries: dict[ElementKey, Verdict | None] = {
                    number: self._entries[key] for number, key in table.items() if family_of(number) == family
                }
                placed.put(Map(f"{short(direction)}{family}", types), entries)
        result.update(placed)


def _moved(users: References[str], before: Mapping[str, object], after: Mapping[str, object]) -> list[str]:
    """Let one who had the names `before` have others; return those that nobody has any more."""
    return users.move(before.keys() - after.keys(), after.keys() - before.keys())


def _refuse_taken(
    users: References[str], known: Mapping[str, _Body], before: Mapping[str, _Body], made: Mapping[str, _Body]
) -> None:
    for name, body in made.items():
        there = known.get(name)
        # Much is shared by many groups, and is the same object then.
        if there is not body and there is not None and users.count(name) > (name in before) and not there.same_as(body):
            raise NameTakenError(name)


def _shared(key: SharedKey, addresses: frozenset[int]) -> Objects:
    """Return the sets of the addresses that all groups share."""
    result = Objects()
    for family, _, types in FAMILIES:
        first, last = _SPACES[family]
        found: list[ElementKey] = [item for item in addresses if first <= item <= last]
        result.put(Set(_set_name(key, family), types), dict.fromkeys(found))
    return result


def group_name(key: GroupKey) -> str:
    """Return the name of a group's chain: direction, namespace, the first policy, and a digest of what it is."""
    prefix = "e" if key.direction is Direction.EGRESS else "i"
    return identifier(prefix, key.namespace, key.policies[0].name[:60], digest(repr(key)))


def _set_name(key: SharedKey, family: Family) -> str:
    return identifier("s", digest(repr(key)), str(family))


class _GroupObjects:
    """The chains and maps of one group."""

    def __init__(
        self,
        key: GroupKey,
        name: str,
        settings: Settings,
        tables: _Tables,
        chains: dict[_Sets, _Chain],
        known: Objects,
    ) -> None:
        self._key = key
        self._name = name
        self._settings = settings
        self._tables = tables
        self._chains = chains
        self._there = known
        self._result = Objects()

    def make(self, program: GroupProgram) -> Objects:
        """Return the objects of the group's program."""
        texts = self._lookups(program, Verdicts(self._result, is_complete=program.is_complete))
        deny = f"deny_{self._name}"
        if program.is_complete:
            # Whatever the first lookup that knows the peer does not accept comes back from it, and is denied.
            asked = f"ask_{self._name}"
            self._result.chain(asked, *texts)
            texts = [str(jump(asked))]
        if program.is_complete or not (program.anywhere and program.anywhere[0][0] == PortSet.ALL):
            texts.append(f"goto {deny}")
            self._result.chain(deny, *self._denial())
        direction = self._key.direction
        self._result.chain(self._name, *texts, comment=cut(f"{direction} of {_policies(self._key)}", COMMENT_LIMIT))
        return self._result

    def _lookups(self, program: GroupProgram, verdicts: Verdicts) -> list[str]:
        """Return the rules that look a peer up."""
        peer = "daddr" if self._key.direction is Direction.EGRESS else "saddr"
        texts: list[str] = []
        for family, word, types in FAMILIES:
            entries: dict[ElementKey, Verdict | None] = {
                address: verdicts.of(ports) for address, ports in program.peers.items() if family_of(address) == family
            }
            if entries:
                container = Map(f"{self._name}_p{family}", types)
                self._result.put(container, entries)
                texts.append(f"{word} {peer} vmap @{container.name}")
        if len(program.shared) <= MOST_SHARED:
            texts += _asked(program.shared, peer, verdicts)
        else:
            # Groups that a policy with many sets isolates share the chain that asks them; the first rule tells it.
            for _, sets in groupby(program.shared, key=lambda item: item[1][0][1].name):
                made, name = self._chain_of(tuple(sets), peer)
                self._result.update(made)
                texts.append(str(jump(name)))
        for table in program.ranges:
            made, maps = self._tables.get(table) or self._tables.setdefault(table, self._table(table))
            self._result.update(made)
            texts += [f"{word} {peer} vmap @{name}" for word, name in maps]
        if program.anywhere:
            texts.append(str(verdicts.of(program.anywhere)))
        return texts

    def _chain_of(self, sets: _Sets, peer: str) -> _Chain:
        """Return a chain that asks sets, with what it needs, and its name."""
        found = self._chains.get(sets)
        if found is None:
            result = Objects()
            asked = _asked(sets, peer, Verdicts(result))
            name = identifier("q", digest("\n".join(asked)))
            result.chain(name, *asked)
            if len(self._chains) >= _MOST_CHAINS:
                self._chains.clear()
            found = self._chains[sets] = result.as_in(self._there), name
        return found

    def _table(self, table: Ranges) -> _Table:
        """Return the chains and maps of a table of ranges, and the names of the maps by word of their family."""
        result = Objects()
        verdicts = Verdicts(result, is_complete=table.is_complete)
        maps: list[tuple[str, str]] = []
        for family, word, types in FAMILIES:
            elements: dict[ElementKey, Verdict | None] = {
                (first, last): verdicts.of(ports) for first, last, ports in table.items if family_of(first) == family
            }
            if elements:
                # Named by what is in it: intervals are never changed in place, where nft checks them for overlaps.
                name = identifier("c", digest(repr(sorted((key, str(item)) for key, item in elements.items()))))
                result.put(Map(f"{name}_{family}", types, flags=INTERVAL), elements)
                maps.append((word, f"{name}_{family}"))
        return result.as_in(self._there), tuple(maps)

    def _denial(self) -> list[str]:
        texts = []
        if self._settings.log_group is not None:
            prefix = cut(f"podfence {self._key.direction} denied by {_policies(self._key)}", LOG_PREFIX_LIMIT)
            texts.append(f'{_LOG_LIMIT} log prefix "{prefix}: " group {self._settings.log_group}')
        if self._settings.reject:
            texts += [RESET, "counter reject with icmpx type admin-prohibited"]
        else:
            texts.append("counter drop")
        return texts


def _asked(sets: _Sets, peer: str, verdicts: Verdicts) -> list[str]:
    return [
        f"{word} {peer} @{_set_name(shared, family)} {verdicts.of(ports)}"
        for shared, ports in sets
        for family, word, _ in FAMILIES
    ]


def _policies(key: GroupKey) -> str:
    return group_text(key.namespace, key.policies)
