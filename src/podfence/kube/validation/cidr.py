# SPDX-License-Identifier: Apache-2.0
"""CIDR texts as the API server reads them, strictly and as it used to (semantics 6.4, 6.5, 9.4, 9.10)."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from podfence.kube.validation.findings import go_quote

if TYPE_CHECKING:
    from podfence.kube.origin import Path
    from podfence.kube.validation.findings import Findings

_QUAD = re.compile(r"([0-9]{1,8})\.([0-9]{1,8})\.([0-9]{1,8})\.([0-9]{1,8})")
_LENGTH = re.compile(r"[0-9]{1,7}")
_ZEROS = re.compile(r"0+(?=[0-9a-fA-F])")
_GROUP = re.compile(r"[0-9a-fA-F]+")
_SPELT_WITH_ZEROS = re.compile(r"0[0-9]")

_BITS = {4: 32, 6: 128}
_MAPPED = 0xFFFF << 32
_MAPPED_BITS = 96
_HOST_BITS = "must not have bits set beyond the prefix length"


class Block(NamedTuple):
    """A CIDR that could be read.

    `family` (4 or 6), `first` address and `length` are canonical: masked, IPv4-mapped as IPv4; `text`
    is that block. `written_length` is the prefix length as written. `refusal` is the strict API
    server's message, "" if it accepts the text, with `remedy`; `warnings` are those of a lax one.
    """

    family: int
    first: int
    length: int
    text: str
    written_length: int
    refusal: str
    remedy: str
    warnings: tuple[str, ...]

    def holds_strictly(self, other: Block) -> bool:
        """Return whether `other` is inside and has a longer prefix, as the API server compares them."""
        if self.family != other.family or self.written_length >= other.written_length:
            return False
        shift = _BITS[self.family] - self.length
        return self.first >> shift == other.first >> shift


@lru_cache(1 << 16)
def parse_block(text: str) -> Block | None:
    """Return the block that `text` means to a lax API server; None if no server takes it."""
    address, slash, prefix = text.partition("/")
    if not slash or not _LENGTH.fullmatch(prefix):
        return None
    read = _read_address(address)
    if read is None:
        return None
    family, number, zeros = read
    bits, length = _BITS[family], int(prefix)
    if length > bits:
        return None
    zeros = zeros or _SPELT_WITH_ZEROS.match(prefix) is not None
    masked = number >> (bits - length) << (bits - length)
    mapped = family == 6 and number >> 32 == 0xFFFF
    if mapped and length >= _MAPPED_BITS:
        canonical = (4, masked - _MAPPED, length - _MAPPED_BITS)
    else:
        canonical = (family, masked, length)
    network = f"{_address_text(canonical[0], canonical[1])}/{canonical[2]}"
    shown = _address_text(4, number - _MAPPED) if mapped else _address_text(family, number)
    refusal = _refusal(zeros=zeros, mapped=mapped, host_bits=masked != number)
    remedy = f"write {network} or {shown}/{bits}" if refusal == _HOST_BITS else f"write {network}"
    warnings: list[str] = []
    if masked != number:
        warnings.append(
            f"CIDR value {go_quote(text)} is ambiguous in this context "
            f"(should be {go_quote(network)} or {go_quote(f'{shown}/{bits}')}?)"
        )
    if mapped or zeros:
        warnings.append(f"non-standard CIDR value {go_quote(text)} is invalid: use {go_quote(network)}")
    elif family == 6 and f"{shown}/{length}" != text:
        short = go_quote(f"{shown}/{length}")
        warnings.append(f"IPv6 CIDR value {go_quote(text)} should be in RFC 5952 canonical format ({short})")
    return Block(*canonical, network, length, refusal, remedy, tuple(warnings))


def _refusal(*, zeros: bool, mapped: bool, host_bits: bool) -> str:
    if zeros:
        return "must not have leading 0s in IP or prefix length"
    if mapped:
        return "must not have an IPv4-mapped IPv6 address"
    return _HOST_BITS if host_bits else ""


def _address_text(family: int, number: int) -> str:
    from ipaddress import IPv4Address, IPv6Address  # noqa: PLC0415  for a remedy only

    return str(IPv4Address(number) if family == 4 else IPv6Address(number))


def _read_address(text: str) -> tuple[int, int, bool] | None:
    """Return family, number, and whether zeros were written that a strict reader refuses."""
    if quad := _read_quad(text):
        return 4, *quad
    if ":" not in text or "%" in text:
        return None
    from ipaddress import IPv6Address  # noqa: PLC0415  5 ms that IPv4 need not pay

    zeros = False
    head, _, last = text.rpartition(":")
    if "." in last:
        read = _read_quad(last)
        if read is None:
            return None
        number, zeros = read
        text = f"{head}:{number >> 16:x}:{number & 0xFFFF:x}"
    groups = text.split(":")
    for index, group in enumerate(groups):
        if len(group) > 4 and _GROUP.fullmatch(group):
            groups[index], zeros = _ZEROS.sub("", group, count=1), True
    try:
        return 6, int(IPv6Address(":".join(groups))), zeros
    except ValueError:
        return None


def _read_quad(text: str) -> tuple[int, bool] | None:
    match = _QUAD.fullmatch(text)
    if match is None:
        return None
    number, zeros = 0, False
    for octet in match.groups():
        value = int(octet)
        if value > 255:
            return None
        zeros = zeros or (len(octet) > 1 and octet[0] == "0")
        number = number << 8 | value
    return number, zeros


_NOT_A_BLOCK = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"


def check_block(text: str, field: Path, findings: Findings, *, lax: bool) -> Block | None:
    """Check one CIDR text; return what it means, None if nothing."""
    block = parse_block(text)
    if block is None:
        findings.invalid(field, text, _NOT_A_BLOCK, remedy=_missing_length(text))
    elif block.refusal and not lax:
        findings.invalid(field, text, block.refusal, remedy=block.remedy)
    elif block.warnings:
        for warning in block.warnings:
            findings.warn(field, warning)
    return block


def _missing_length(text: str) -> str:
    read = _read_address(text)
    return f"write {text}/{_BITS[read[0]]} for this one address" if read else ""
