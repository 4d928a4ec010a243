# SPDX-License-Identifier: Apache-2.0
"""Print the parts of what is released, as CycloneDX 1.6 in JSON (SBOM).

    sbom.py wheel requirements/agent.lock VERSION
    sbom.py image dist/podfence-image.tar VERSION

The parts of the wheel are its dependencies as they are pinned, with all extras. Those of the image are read from the
image itself: the packages of Debian that dpkg knows, and the distributions of Python.
"""

from __future__ import annotations

import re
import sys
import tarfile
from datetime import UTC, datetime
from email.parser import HeaderParser
from os import environ
from pathlib import Path
from typing import TYPE_CHECKING, Final
from uuid import NAMESPACE_URL, uuid5

from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.output.json import JsonV1Dot6
from packageurl import PackageURL

if TYPE_CHECKING:
    from collections.abc import Iterator

PINNED: Final = re.compile(r"^(?P<name>[A-Za-z0-9._-]+)==(?P<version>[^ ;\\]+)", re.MULTILINE)
DPKG: Final = re.compile(r"^(\./)?var/lib/dpkg/status$")
PYTHON: Final = re.compile(r"\.dist-info/METADATA$")


def part(kind: str, name: str, version: str, **qualifiers: str) -> Component:
    """Return a part; `kind` is ``pypi`` or ``deb``."""
    url = PackageURL(kind, "debian" if kind == "deb" else None, name, version, qualifiers)
    return Component(name=name, version=version, purl=url, bom_ref=url.to_string())


def pinned(file: str) -> Iterator[Component]:
    """Yield the distributions that a file of requirements pins."""
    for match in PINNED.finditer(Path(file).read_text("utf-8")):
        yield part("pypi", match["name"], match["version"])


def within(archive: str) -> Iterator[Component]:
    """Yield what is in the layers of an image."""
    with tarfile.open(archive) as image:
        for member in image:
            data = image.extractfile(member) if member.name.endswith(".tar") and member.isfile() else None
            if data is not None:
                with tarfile.open(fileobj=data) as layer:
                    yield from in_layer(layer)


def in_layer(layer: tarfile.TarFile) -> Iterator[Component]:
    """Yield what is in one layer."""
    for member in layer:
        is_dpkg = DPKG.search(member.name)
        if not is_dpkg and not PYTHON.search(member.name):
            continue
        data = layer.extractfile(member)
        text = data.read().decode() if data is not None else ""
        for paragraph in text.split("\n\n") if is_dpkg else [text]:
            fields = HeaderParser().parsestr(paragraph.lstrip("\n"))
            if is_dpkg and fields["Status"] == "install ok installed":
                yield part("deb", fields["Package"], fields["Version"], arch=fields["Architecture"], distro="debian-12")
            elif not is_dpkg and fields["Name"] != "podfence":
                yield part("pypi", re.sub(r"[-_.]+", "-", fields["Name"]).lower(), fields["Version"])


def main() -> None:
    """Print the parts of what the arguments name; raises SystemExit if there are none."""
    what, file, version = sys.argv[1:]
    found = {item.bom_ref.value: item for item in (pinned(file) if what == "wheel" else within(file))}
    if not found:
        raise SystemExit(f"sbom: no parts found in {file}")
    kind = ComponentType.CONTAINER if what == "image" else ComponentType.APPLICATION
    subject = Component(name="podfence", version=version, type=kind, bom_ref=f"podfence-{what}@{version}")
    bom = Bom(components=found.values(), serial_number=uuid5(NAMESPACE_URL, f"podfence/{what}/{version}"))
    bom.metadata.component = subject
    bom.metadata.timestamp = datetime.fromtimestamp(int(environ.get("SOURCE_DATE_EPOCH", "0")), UTC)
    bom.register_dependency(subject, found.values())
    sys.stdout.write(JsonV1Dot6(bom).output_as_string(indent=2) + "\n")


if __name__ == "__main__":
    main()
