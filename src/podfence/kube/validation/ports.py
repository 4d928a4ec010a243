# SPDX-License-Identifier: Apache-2.0
"""Port numbers and the ports of policy rules (semantics 9.1, 9.10)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from podfence.kube.validation.names import port_name

if TYPE_CHECKING:
    from podfence.kube import wire
    from podfence.kube.origin import Path
    from podfence.kube.validation.findings import Findings

LAST_PORT = 65535
_PROTOCOLS = ("TCP", "UDP", "SCTP")


def check_number(number: int, field: Path, findings: Findings, *, place: Path | None = None) -> None:
    """Check that a port number is one; `place` is where it was taken from if not from `field`."""
    if not 1 <= number <= LAST_PORT:
        findings.invalid(field, number, f"must be between 1 and {LAST_PORT}, inclusive", place=place)


def check_name(name: str, field: Path, findings: Findings) -> None:
    """Check the name of a port; a number in quotes is told from a bad name."""
    remedy = "remove the quotes" if name.isdecimal() and name.isascii() else ""
    findings.invalid(field, name, *port_name(name), remedy=remedy)


def check_policy_port(port: wire.Port, field: Path, findings: Findings) -> None:
    """Check one item of a rule's `ports`."""
    findings.check_word(field, "protocol", port.protocol, _PROTOCOLS)
    number, end = port.port, port.end_port
    if number is None:
        if end is not None:
            findings.invalid(
                (*field, "endPort"),
                end,
                "may not be specified when `port` is not specified",
                needs=((*field, "port"),),
            )
    elif isinstance(number, str):
        if end is not None:
            findings.invalid((*field, "endPort"), end, "may not be specified when `port` is non-numeric")
        check_name(number, (*field, "port"), findings)
    else:
        check_number(number, (*field, "port"), findings)
        if end is not None:
            if end < number:
                # The API server prints the port here, not the endPort.
                findings.invalid((*field, "endPort"), number, "must be greater than or equal to `port`")
            check_number(end, (*field, "endPort"), findings)
