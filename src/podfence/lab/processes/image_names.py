# SPDX-License-Identifier: Apache-2.0
"""Names of images, as manifests and archives write them."""

from __future__ import annotations


def reference(image: str) -> str:
    """Return the full name of an image: Docker Hub's prefixes taken away, `:latest` where it has no tag or digest."""
    for prefix in ("docker.io/", "index.docker.io/", "library/"):
        image = image.removeprefix(prefix)
    return image if "@" in image or ":" in image.rsplit("/", 1)[-1] else f"{image}:latest"


def short_name(image: str) -> str:
    """Return the name of an image without registry, folder, tag and digest."""
    return image.split("@", 1)[0].rsplit("/", 1)[-1].split(":", 1)[0]
