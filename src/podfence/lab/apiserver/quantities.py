# SPDX-License-Identifier: Apache-2.0
"""Quantities of resources, in the form in which Kubernetes writes each."""

from __future__ import annotations

import re
from decimal import ROUND_UP, Context, Decimal
from typing import Final

_QUANTITY: Final = re.compile(
    r"(?P<sign>[+-]?)(?P<whole>\d*)\.?(?P<part>(?<=\.)\d*)?(?P<suffix>[KMGTPE]i|[numkMGTPE]|[eE][+-]?\d+)?", re.ASCII
)
_DECIMAL: Final = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_BINARY: Final = {"": 0, "Ki": 10, "Mi": 20, "Gi": 30, "Ti": 40, "Pi": 50, "Ei": 60}
# Kubernetes rounds the resources of containers to thousandths.
_FINEST: Final = -3
_KIBI: Final = 1024
_LARGEST: Final = 2**63 - 1
_MOST_DIGITS: Final = 18
# More digits than any quantity has.
_EXACT: Final = Context(prec=100)


def canonical(text: str) -> str | None:
    """Return a quantity as Kubernetes writes it, None if the text is none.

    It has no fraction and the largest suffix that allows that, of the family in which it was written: ``0.5`` is
    ``500m``, ``1000m`` is ``1``, ``2048Ki`` is ``2Mi``. What is finer than a thousandth is rounded up.
    A few texts stay as they are although they could be shorter, because Kubernetes takes them for short already.
    """
    found = _QUANTITY.fullmatch(text)
    if found is None or not (found["whole"] or found["part"]):
        return None
    whole, part, suffix = found["whole"].lstrip("0") or "0", found["part"] or "", found["suffix"] or ""
    digits = whole + part
    number = Decimal(f"{found['sign']}{whole}.{part}0")
    if suffix in _BINARY and suffix:
        if not part and int(digits) % 8 and len(digits) < _MOST_DIGITS - _BINARY[suffix] * 3 // 10 - 2:
            return text
        return _in_powers_of_two(_EXACT.multiply(number, Decimal(1 << _BINARY[suffix])))
    power = _DECIMAL[suffix] if suffix in _DECIMAL else max(-99, min(99, int(suffix[1:])))
    scale = power - len(part)
    short = scale % 3 == 0 and not digits.endswith("000") and digits[0] != "0"
    if short and scale >= _FINEST and len(digits) <= _MOST_DIGITS:
        return text
    return _in_powers_of_ten(_EXACT.scaleb(number, power), exponents=suffix not in _DECIMAL)


def _in_powers_of_two(value: Decimal) -> str:
    value = min(value, Decimal(_LARGEST))
    if abs(value) < _KIBI or value != value.to_integral_value():
        return _in_powers_of_ten(value, exponents=False)
    power, name = max((power, name) for name, power in _BINARY.items() if int(value) % (1 << power) == 0)
    return f"{int(value) >> power}{name}"


def _in_powers_of_ten(value: Decimal, *, exponents: bool) -> str:
    if not value:
        return "0"
    smallest = int(_EXACT.scaleb(value, -_FINEST).to_integral_value(ROUND_UP))
    fits = ((power, name) for name, power in _DECIMAL.items() if smallest % 10 ** (power - _FINEST) == 0)
    power, name = max(fits)
    return f"{smallest // 10 ** (power - _FINEST)}{f'e{power}' if exponents and power else name}"
