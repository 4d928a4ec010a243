# SPDX-License-Identifier: Apache-2.0
"""The site of the documentation has every page in its navigation. That its links lead somewhere, `make site` asserts."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from types import ModuleType

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def conf() -> ModuleType:
    spec = importlib.util.spec_from_file_location("conf", ROOT / "docs" / "conf.py")
    assert spec is not None
    assert spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    return made


@pytest.fixture(scope="module")
def parts(conf: ModuleType) -> list[str]:
    """Return what Sphinx is given for each page that others are below."""
    below = [conf.root_doc, conf.RECIPES, conf.EXAMPLES]
    texts = [[(ROOT / f"{name}.md").read_text("utf-8")] for name in below]
    for name, text in zip(below, texts, strict=True):
        conf.add_navigation(None, name, text)
    return [text for (text,) in texts]


def test_every_page_is_in_the_navigation_once(parts: list[str], conf: ModuleType) -> None:
    entries = [
        line.removeprefix("/") for text in parts for line in text.splitlines() if re.fullmatch(r"/[\w/.-]+", line)
    ]
    pages = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("examples/**/*.md")]
    there = {page.relative_to(ROOT).with_suffix("").as_posix() for page in pages} - {conf.root_doc}

    assert sorted(entries) == sorted(there | {"tests/kubernetes/bed/README"})


def test_the_recipes_come_first(parts: list[str], conf: ModuleType) -> None:
    assert re.findall(r"^/(.+)$", parts[0], re.MULTILINE)[0] == conf.RECIPES
