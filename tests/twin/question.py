# SPDX-License-Identifier: Apache-2.0
"""What the twin is asked and what it answers: ends, traffic, and three-valued answers."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NoReturn

if TYPE_CHECKING:
    from collections.abc import Iterable


class Answer(enum.Enum):
    """Yes, no, or maybe where an address that decides is not known; it has no truth value of its own."""

    NO = "no"
    MAYBE = "maybe"
    YES = "yes"

    def __bool__(self) -> NoReturn:
        """Refuse: MAYBE is neither true nor false, so answers are compared with ``is``."""
        message = "compare an Answer with `is`"
        raise TypeError(message)


def answer(fact: bool) -> Answer:
    """Return YES for a fact and NO otherwise."""
    return Answer.YES if fact else Answer.NO


def any_of(answers: Iterable[Answer]) -> Answer:
    """Return Kleene's "or": YES if one is, NO if all are, otherwise MAYBE."""
    seen = set(answers)
    if Answer.YES in seen:
        return Answer.YES
    return Answer.MAYBE if Answer.MAYBE in seen else Answer.NO


def all_of(answers: Iterable[Answer]) -> Answer:
    """Return Kleene's "and": NO if one is, YES if all are, otherwise MAYBE."""
    seen = set(answers)
    if Answer.NO in seen:
        return Answer.NO
    return Answer.MAYBE if Answer.MAYBE in seen else Answer.YES


def agreement(answers: Iterable[Answer]) -> Answer:
    """Return the answer that all give, MAYBE if they differ."""
    seen = set(answers)
    return seen.pop() if len(seen) == 1 else Answer.MAYBE


@dataclass(frozen=True)
class PodEnd:
    """A pod, by one of its addresses; `address` None stands for all of them, or for one that is not known."""

    namespace: str
    name: str
    address: str | None = None


@dataclass(frozen=True)
class AddressEnd:
    """Whatever has this address."""

    address: str


@dataclass(frozen=True)
class NodeEnd:
    """A node itself, by any of its addresses."""

    name: str


End = PodEnd | AddressEnd | NodeEnd


@dataclass(frozen=True)
class Traffic:
    """The protocol and the destination port of a connection; ICMP has no port (semantics 1.1)."""

    protocol: Literal["TCP", "UDP", "SCTP", "ICMP"]
    port: int | None = None

    def __post_init__(self) -> None:
        """Refuse a port with ICMP, and its absence with the others."""
        if (self.protocol == "ICMP") is not (self.port is None):
            message = f"{self.protocol} with port {self.port}"
            raise ValueError(message)
