# SPDX-License-Identifier: Apache-2.0
"""Image archives are unpacked as a container runtime would, and never outside of their folder."""

from __future__ import annotations

import gzip
import io
from typing import TYPE_CHECKING

import pytest

from podfence.lab.processes import archive
from podfence.lab.processes.archive import ArchiveError, Image
from tests.lab.images import DIRECTORY, HARD_LINK, LINK, docker, layer, oci, pack

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

CONFIG = {"Entrypoint": ["/app"], "Cmd": ["serve"], "Env": ["A=b=c", "PATH=/bin"], "WorkingDir": "/srv"}


def load(content: bytes, store: Path) -> list[Image]:
    return archive.load(io.BytesIO(content), "some/app.tar", store)


@pytest.mark.parametrize("build", [lambda layers: docker({"app:1": layers}, CONFIG), lambda layers: oci("docker.io/library/app:1", layers, CONFIG)], ids=["docker", "oci"])  # fmt: skip
@pytest.mark.parametrize("compress", [lambda content: content, gzip.compress], ids=["plain", "gzip"])
def test_both_formats_are_read_compressed_or_not(tmp_path: Path, build: Callable[[list[bytes]], bytes], compress: Callable[[bytes], bytes]) -> None:  # fmt: skip
    content = build([layer({"app": b"#!old"}), compress(layer({"./app": b"#!new", "etc/conf": b"x"}))])
    (image,) = load(compress(content), tmp_path)
    assert image.names == ("app:1",)
    assert (image.entrypoint, image.command, image.working_dir) == (("/app",), ("serve",), "/srv")
    assert image.env == {"A": "b=c", "PATH": "/bin"}
    assert image.source == "app.tar"
    root = tmp_path / image.folder
    assert (root / "app").read_bytes() == b"#!new"
    assert (root / "app").stat().st_mode & 0o777 == 0o755
    assert (root / "etc/conf").read_bytes() == b"x"


def test_several_images_of_one_archive_share_layers(tmp_path: Path) -> None:
    base = layer({"base": b"b"})
    found = load(docker({"one:1": [base], "registry.example/two:2": [base, layer({"two": b"2"})]}), tmp_path)
    assert [image.names for image in found] == [("one:1",), ("registry.example/two:2",)]
    assert [sorted(path.name for path in (tmp_path / image.folder).iterdir()) for image in found] == [["base"], ["base", "two"]]  # fmt: skip


def test_the_same_image_again_is_not_unpacked_again(tmp_path: Path) -> None:
    content = docker({"app": [layer({"a": b"1"})]})
    (first,) = load(content, tmp_path)
    (tmp_path / first.folder / "mark").touch()
    (second,) = load(content, tmp_path)
    assert second.folder == first.folder
    assert (tmp_path / second.folder / "mark").exists()


def unpacked(tmp_path: Path, *layers: bytes) -> Path:
    (image,) = load(docker({"app": list(layers)}), tmp_path)
    return tmp_path / image.folder


def test_whiteouts_take_away_what_lower_layers_had(tmp_path: Path) -> None:
    lower = layer({"a/one": b"1", "a/two": b"2", "b/old": b"o", "b/deep/old": b"o"})
    upper = layer({"a/.wh.one": b"", "b/new": b"n", "b/.wh..wh..opq": b""})
    root = unpacked(tmp_path, lower, upper)
    assert sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()) == ["a/two", "b/new"]


def test_kinds_replace_each_other(tmp_path: Path) -> None:
    lower = layer({"a": b"file", "b/c": b"file", "l": (LINK, "a")})
    upper = layer({"a": (DIRECTORY, ""), "a/x": b"1", "b": b"now a file", "l": b"own"})
    root = unpacked(tmp_path, lower, upper)
    assert (root / "a/x").read_bytes() == b"1"
    assert (root / "b").read_bytes() == b"now a file"
    assert (root / "l").read_bytes() == b"own"


def test_hard_links_are_the_same_file_and_links_stay_what_they_say(tmp_path: Path) -> None:
    root = unpacked(
        tmp_path, layer({"bin/tool": b"t", "bin/alias": (HARD_LINK, "bin/tool"), "sh": (LINK, "/bin/tool")})
    )
    assert (root / "bin/alias").samefile(root / "bin/tool")
    assert str((root / "sh").readlink()) == "/bin/tool"


def test_links_are_followed_as_inside_the_image(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    lower = layer({"lib": (LINK, "/usr/lib"), "trap": (LINK, str(outside)), "up": (LINK, "../../../../..")})
    upper = layer({"lib/x": b"x", "trap/y": b"y", "up/z": b"z"})
    root = unpacked(tmp_path / "store", lower, upper)
    assert (root / "usr/lib/x").read_bytes() == b"x"
    assert (root / "z").read_bytes() == b"z"
    assert (root / str(outside).lstrip("/") / "y").read_bytes() == b"y"
    assert not list(outside.iterdir())


@pytest.mark.parametrize(
    ("entries", "words"),
    [
        ({"../evil": b""}, "../evil leads out of the image"),
        ({"a/../../evil": b""}, "a/../../evil leads out of the image"),
        ({"alias": (HARD_LINK, "../../etc/passwd")}, "../../etc/passwd leads out of the image"),
        ({"alias": (HARD_LINK, "nowhere")}, "No such file"),
        ({"a": (LINK, "b"), "b": (LINK, "a"), "a/x": b""}, "form a loop"),
    ],
)  # fmt: skip
def test_layers_that_lead_out_or_nowhere_are_refused(tmp_path: Path, entries: dict[str, bytes], words: str) -> None:
    with pytest.raises(ArchiveError) as raised:
        unpacked(tmp_path, layer(dict(entries)))
    assert str(raised.value).startswith("some/app.tar: layer ")
    assert words in str(raised.value)
    assert not list((tmp_path / "images").iterdir())


GOOD = docker({"app": [layer({"a": b"1"})]})
MANIFEST = b'[{"Config": "c.json", "RepoTags": ["app"], "Layers": ["l/layer.tar"]}]'


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "cannot be read as an image archive"),
        (b"no tar at all" * 100, "cannot be read as an image archive"),
        (gzip.compress(GOOD)[:-40], "cannot be read as an image archive"),
        (pack({"etc/passwd": b""}), "has neither manifest.json (docker save) nor index.json (OCI)"),
        (pack({"manifest.json": b"{"}), "manifest.json does not have the format of an image archive"),
        (pack({"manifest.json": MANIFEST}), "c.json is missing"),
        (pack({"manifest.json": MANIFEST, "c.json": b"{}"}), "l/layer.tar is missing"),
        (pack({"manifest.json": MANIFEST, "c.json": b"{}", "l/layer.tar": b"x" * 600}), "layer l/layer.tar: "),
        (docker({"app": []}, architecture="s390x"), "app is for s390x; this machine is "),
        (pack({"manifest.json": b'[{"Config": "c", "RepoTags": null, "Layers": []}]'}), "no image with a name"),
        (oci("app", [layer({"a": b"intact"})]).replace(b"intact", b"broken"), "is damaged: its digest does not match its content"),
    ],
)  # fmt: skip
def test_what_is_broken_is_named(tmp_path: Path, content: bytes, words: str) -> None:
    with pytest.raises(ArchiveError) as raised:
        load(content, tmp_path)
    assert str(raised.value).startswith("some/app.tar: ")
    assert words in str(raised.value)
