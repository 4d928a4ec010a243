# SPDX-License-Identifier: Apache-2.0
"""The package imports its public names when they are used."""

from __future__ import annotations

import subprocess
import sys

import pytest

import podfence


@pytest.mark.parametrize("name", podfence.__all__)
def test_every_public_name_is_there_and_listed(name: str) -> None:
    assert getattr(podfence, name).__name__ == name
    assert name in dir(podfence)


def test_another_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'podfence' has no attribute 'nothing'"):
        _ = podfence.nothing


def test_importing_the_package_imports_no_engine() -> None:
    script = "import sys, podfence; print(*sorted(name for name in sys.modules if name.startswith('podfence')))"
    shown = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout

    assert shown == "podfence\n"
