# SPDX-License-Identifier: Apache-2.0
"""The kubectl of tests: the one on PATH, or the one that `make kubectl` has built."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Final

import pytest

_BUILT = Path(__file__).parents[2] / "build" / "bin"

KUBECTL = shutil.which("kubectl", path=f"{os.environ.get('PATH', os.defpath)}:{_BUILT}")
"""The path of kubectl, None without one."""

QUICKLY: Final = {"GOGC": "off"}
"""The environment of a kubectl that ends before it has to collect garbage: that takes a quarter of its time."""

needs_kubectl = pytest.mark.skipif(KUBECTL is None, reason="needs kubectl on PATH; `make kubectl` builds one")
"""Marks tests that run kubectl."""
