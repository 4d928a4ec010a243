# SPDX-License-Identifier: Apache-2.0
"""Exact immutable sets: ports, addresses, and numbered members. Nothing here knows Kubernetes."""

from podfence.sets.addresses import AddressSet, Block
from podfence.sets.bits import members, union
from podfence.sets.ports import PortSet

__all__ = ["AddressSet", "Block", "PortSet", "members", "union"]
