# SPDX-License-Identifier: Apache-2.0
"""The kubectl of tests: the one on PATH, or the one that `make test` and `make kubectl` build."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Final

import pytest

_BUILT: Final = Path(__file__).parents[2] / "build" / "bin"
_PATH: Final = os.environ.get("PATH", os.defpath)
_IS_OWED: Final = bool(os.environ.get("CI") and shutil.which("go", path=f"{_PATH}:/usr/local/go/bin"))
"""Whether there must be one: CI can build it, and a test that is skipped there would not be missed."""

KUBECTL: Final = shutil.which("kubectl", path=f"{_PATH}:{_BUILT}") or (str(_BUILT / "kubectl") if _IS_OWED else None)
"""The path of kubectl, None without one."""

QUICKLY: Final = {"GOGC": "off"}
"""The environment of a kubectl that ends before it has to collect garbage: that takes a quarter of its time."""

needs_kubectl = pytest.mark.skipif(
    KUBECTL is None,
    reason="needs kubectl on PATH; `make kubectl` builds one, with Go",
)
"""Marks tests that run kubectl. In CI they fail without one, unless it cannot be built."""
