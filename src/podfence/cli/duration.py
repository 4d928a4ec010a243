# SPDX-License-Identifier: Apache-2.0
"""Lengths of time as kubectl takes them on its command line (client-go's clientcmd.ParseTimeout)."""

from __future__ import annotations

import re
from typing import Final

import click

_SECONDS: Final = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_PART: Final = rf"([0-9]+\.?[0-9]*|\.[0-9]+)({'|'.join(_SECONDS)})"


def parse(text: str) -> float:
    """Return the seconds that ``30``, ``30s``, ``1m30s`` or ``1.5h`` mean; a number alone counts seconds.

    Raises ValueError for everything else. Unlike kubectl, nothing negative is taken: no request ends before it starts.
    """
    if re.fullmatch(r"[0-9]+", text):
        return float(text)
    if not re.fullmatch(f"(?:{_PART})+", text):
        raise ValueError(f"{text!r} is not a duration; write 30s, 2m or 1h30m, or a number of seconds")
    return sum(float(number) * _SECONDS[unit] for number, unit in re.findall(_PART, text))


def limit(_ctx: click.Context, _param: click.Parameter, value: str | None) -> float | None:
    """Return the seconds that an option allows, None for no limit, which is 0 or no value.

    Raises click.BadParameter for what is no length of time.
    """
    try:
        return (parse(value) or None) if value is not None else None
    except ValueError as error:
        raise click.BadParameter(str(error)) from None
