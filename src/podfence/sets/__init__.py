# SPDX-License-Identifier: Apache-2.0
"""Exact immutable sets: ports, addresses, and numbered members. Nothing here knows Kubernetes."""

from podfence.sets.addresses import AddressBlock, AddressSet
from podfence.sets.bits import members, union
from podfence.sets.ports import PortSet

__all__ = ["AddressBlock", "AddressSet", "PortSet", "members", "union"]
