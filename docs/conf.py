# SPDX-License-Identifier: Apache-2.0
"""How Sphinx makes a site of the pages in the repository, as they are there: `make site`.

The source is the root of the checkout, so that links between pages, examples and the README hold in both places. Which
pages there are, and in which order, docs/README.md says to its readers; the navigation of the site is read from it.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from posixpath import join, normpath
from shutil import copyfile
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sphinx.application import Sphinx

ROOT = Path(__file__).resolve().parent.parent
OVERVIEW = "docs/README.md"
RECIPES = "docs/tutorial/recipes/README"
EXAMPLES = "examples/README"
PROJECT = ["CONTRIBUTING", "tests/kubernetes/bed/README", "SECURITY", "CHANGELOG"]
SECTION = re.compile(r"^## (?P<title>.+)$(?P<text>(?:\n(?!## ).*)*)", re.MULTILINE)
PAGE = re.compile(r"\]\((?P<target>[^):#]+)\.md\)")

project = "podfence"
author = "the podfence authors"
version = release = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["version"]

root_doc = "README"
include_patterns = ["*.md", "docs/**.md", "examples/**.md", "tests/kubernetes/bed/README.md"]
extensions = ["myst_parser"]
myst_heading_anchors = 4
highlight_language = "text"

html_theme = "furo"
html_title = "podfence"
html_copy_source = False
html_show_sphinx = False


def pages(text: str, folder: str) -> list[str]:
    """Return the pages that a text of a folder links to, once each, named from the root and without their suffix."""
    return list(dict.fromkeys(normpath(join(folder, target)) for target in PAGE.findall(text)))


def toctree(caption: str, found: list[str]) -> str:
    """Return a part of the navigation, which no page shows."""
    return "\n".join(
        ("", "```{toctree}", ":hidden:", f":caption: {caption}", "", *(f"/{page}" for page in found), "```", "")
    )


def navigation() -> str:
    """Return the navigation: the recipes first, then the sections of the overview, then the project itself."""
    text = (ROOT / OVERVIEW).read_text("utf-8")
    parts = {match["title"]: pages(match["text"], "docs") for match in SECTION.finditer(text)}
    apart = {RECIPES, *PROJECT}
    parts = {title: [page for page in found if page not in apart] for title, found in parts.items()}
    parts = {"Start": [RECIPES, "docs/README"], **parts, "Examples": [EXAMPLES], "Project": PROJECT}
    return "".join(toctree(title, found) for title, found in parts.items())


def add_navigation(_app: Sphinx, name: str, source: list[str]) -> None:
    """Add to a page what is to be found below it; Sphinx looks for that in the pages themselves."""
    if name == root_doc:
        source[0] += navigation()
    elif name == RECIPES:
        below = pages(source[0], "docs/tutorial/recipes")
        source[0] += toctree("Recipes", [page for page in below if page.startswith("docs/tutorial/recipes/")])
    elif name == EXAMPLES:
        found = sorted(page.parent.relative_to(ROOT).as_posix() for page in ROOT.glob("examples/*/README.md"))
        source[0] += toctree("Examples", [f"{folder}/README" for folder in found])


def add_front(app: Sphinx, failure: Exception | None) -> None:
    """Let the site begin with the README."""
    if failure is None:
        copyfile(app.outdir / f"{root_doc}.html", app.outdir / "index.html")


def setup(app: Sphinx) -> None:
    """Have Sphinx ask for what the pages do not say themselves."""
    app.connect("source-read", add_navigation)
    app.connect("build-finished", add_front)
