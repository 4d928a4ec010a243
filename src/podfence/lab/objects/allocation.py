# SPDX-License-Identifier: Apache-2.0
"""Addresses handed out of a block: the one that was free the longest comes next, as with host-local IPAM."""

from __future__ import annotations

import ipaddress
from typing import Final

# As many as a /16 has; a scan of a larger block would not end.
_MOST: Final = 1 << 16


class Pool:
    """The addresses `first` to the last but one of a block, by number; the last of IPv4 is its broadcast address.

    `start` is where the search for a free one begins: those before it are given only when the rest is taken,
    or on request.
    """

    def __init__(self, block: str, first: int, *, start: int | None = None) -> None:
        self._network = ipaddress.ip_network(block)
        self._first = first
        self._end = min(self._network.num_addresses, _MOST) - 1
        self._next = first if start is None else start
        self._taken: set[int] = set()

    @property
    def free(self) -> int:
        """How many addresses nobody has."""
        return self._end - self._first - len(self._taken)

    def __contains__(self, text: str) -> bool:
        """Return whether the block holds an address."""
        address = ipaddress.ip_address(text)
        return address.version == self._network.version and address in self._network

    def allocate(self) -> str | None:
        """Return an address that nobody has, None if there is none left."""
        size = self._end - self._first
        for step in range(size):
            number = self._first + (self._next - self._first + step) % size
            if number not in self._taken:
                self._next = number + 1
                self._taken.add(number)
                return str(self._network[number])
        return None

    def take(self, text: str) -> bool:
        """Take one address of the block; return whether it was free."""
        number = self._number(text)
        if number in self._taken:
            return False
        self._taken.add(number)
        return True

    def release(self, text: str) -> None:
        """Give an address back."""
        self._taken.discard(self._number(text))

    def _number(self, text: str) -> int:
        return int(ipaddress.ip_address(text)) - int(self._network.network_address)
