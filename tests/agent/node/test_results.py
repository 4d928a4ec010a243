# SPDX-License-Identifier: Apache-2.0
"""What is read in libcni's cache, of whatever version and however damaged."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from podfence.agent.node.results import LARGEST, Attachment, Results, decode
from podfence.sets.addresses import parse_address
from tests.agent.node import cni

MAC = "0a:58:0a:f4:01:02"
FILE = f"cbr0-{cni.CONTAINER}-eth0"


def attachment(
    pod: str = "shop/web",
    mac: str = MAC,
    addresses: tuple[str, ...] = ("10.244.1.2",),
    gateways: tuple[str, ...] = ("10.244.1.1",),
    links: tuple[str, ...] = (),
) -> Attachment:
    return Attachment(pod, mac, tuple(map(parse_address, addresses)), tuple(map(parse_address, gateways)), links)


BANDWIDTH = cni.bridge("vethac1e", MAC, "10.244.1.2/24")
BANDWIDTH["interfaces"].append({"name": "bwp2a0c4e6f8b1d", "mac": "5e:01:02:03:04:05"})

OLD = {
    "cniVersion": "0.2.0",
    "ip4": {"ip": "10.244.1.2/24", "gateway": "10.244.1.1", "routes": [{"dst": "0.0.0.0/0", "gw": "10.244.1.1"}]},
    "ip6": {"ip": "fd00::2/64", "gateway": "fd00::1"},
    "dns": {},
}


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        pytest.param(
            cni.cached(cni.bridge("vethac1e", MAC, "10.244.1.2/24")),
            attachment(links=("cni0", "vethac1e")),
            id="bridge",
        ),
        pytest.param(
            cni.cached(BANDWIDTH),
            attachment(links=("cni0", "vethac1e", "bwp2a0c4e6f8b1d")),
            id="bridge with bandwidth, which adds a link of its own",
        ),
        pytest.param(
            cni.cached(cni.ptp("vethac1e", MAC.upper(), "10.244.1.2/24", "fd00::2/64")),
            attachment(addresses=("10.244.1.2", "fd00::2"), links=("vethac1e",)),
            id="ptp of version 0.3.1, both families, hardware address in upper case",
        ),
        pytest.param(
            cni.cached(cni.calico("cali0123456789a", "10.244.1.2/32")),
            attachment(mac="", gateways=(), links=("cali0123456789a",)),
            id="Calico, without the pod's end",
        ),
        pytest.param(
            cni.cached(cni.aws("eni5a3f9c0d1e2", "10.0.4.7/32", ("eni77", "10.0.5.7/32"))),
            attachment(mac="", addresses=("10.0.4.7",), gateways=("169.254.1.1",), links=("eni5a3f9c0d1e2", "eni77")),
            id="Amazon VPC with two interfaces: addresses of the others are not the primary one's",
        ),
        pytest.param(
            cni.cached(
                {
                    "cniVersion": "0.3.1",
                    "interfaces": [{"name": "eth0", "mac": MAC, "sandbox": cni.SANDBOX}],
                    "ips": [{"version": "4", "address": "10.9.0.5/24", "gateway": "10.9.0.1", "interface": 0}],
                }
            ),
            attachment(addresses=("10.9.0.5",), gateways=("10.9.0.1",)),
            id="macvlan and the like, which make nothing on the node",
        ),
        pytest.param(
            cni.cached(OLD),
            attachment(mac="", addresses=("10.244.1.2", "fd00::2"), gateways=("10.244.1.1", "fd00::1")),
            id="version 0.2.0",
        ),
        pytest.param(
            OLD,
            attachment("", mac="", addresses=("10.244.1.2", "fd00::2"), gateways=("10.244.1.1", "fd00::1")),
            id="the result alone, as libcni kept it before 0.8",
        ),
        pytest.param(
            cni.cached({"cniVersion": "1.0.0"}), attachment(mac="", addresses=(), gateways=()), id="no address at all"
        ),
        pytest.param(
            cni.cached(cni.bridge("vethac1e", "00:00:00:00:00:00", "10.244.1.2/24")),
            attachment(mac="", links=("cni0", "vethac1e")),
            id="a hardware address that is none",
        ),
        pytest.param(cni.cached(OLD, interface="net1"), None, id="a secondary network"),
        pytest.param(cni.cached({"interfaces": [{"name": "lo"}]}, interface="lo"), None, id="loopback"),
    ],
)
def test_what_a_plugin_made_for_a_pod_is_read(content: dict[str, Any], expected: Attachment | None) -> None:
    assert decode(json.dumps(content).encode(), FILE) == expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (
            "bridge",
            attachment(
                mac="9e:30:f5:23:23:a7",
                addresses=("10.88.0.2", "fd00:88::2"),
                gateways=("10.88.0.1", "fd00:88::1"),
                links=("cni0", "vethf9d42d83", "bwp5f4ead2114cf"),
            ),
        ),
        (
            "ptp",
            attachment("shop/db", "a6:ee:4f:66:60:f8", ("10.89.0.2",), ("10.89.0.1",), links=("veth85847d5d",)),
        ),
    ],
)
def test_results_of_real_plugins_are_read(name: str, expected: Attachment) -> None:
    assert decode((Path(__file__).with_name("results") / f"{name}.json").read_bytes(), name) == expected


def test_the_name_of_an_old_file_says_which_network_it_is_about() -> None:
    assert decode(json.dumps(OLD).encode(), f"mynet-{cni.CONTAINER}-net1") is None


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b'{"kind":"cniCacheV1","containerId":"4f2c',
        b"[]",
        b"\xff\xfe",
        b"[" * 100_000,
        json.dumps(cni.cached({"ips": [{"address": "ten/24"}]})).encode(),
        json.dumps(cni.cached({"ips": {"address": "10.0.0.1/24"}})).encode(),
        json.dumps({**cni.cached({}), "cniArgs": [["K8S_POD_NAME"]]}).encode(),
    ],
)
def test_what_is_no_result_is_an_error_and_nothing_worse(content: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        decode(content, FILE)


@pytest.fixture
def cache(tmp_path: Path) -> cni.Cache:
    return cni.Cache(tmp_path)


def test_only_files_that_are_new_or_have_changed_are_read_again(
    cache: cni.Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    results = Results(cache.directory)
    first = cache.add(cni.bridge("veth1", MAC, "10.244.1.2/24"))
    cache.add(cni.bridge("veth2", MAC, "10.244.1.3/24"), "shop/db")
    assert [item.pod for item in results.read()] == ["shop/web", "shop/db"]

    opened: list[str] = []
    real = os.open

    def note(path: str, flags: int) -> int:
        opened.append(path)
        return real(path, flags)

    monkeypatch.setattr(os, "open", note)
    assert len(results.read()) == 2
    assert opened == []

    first.unlink()
    third = cache.add(cni.bridge("veth3", MAC, "10.244.1.4/24"), "shop/api")
    assert [item.pod for item in results.read()] == ["shop/db", "shop/api"]
    assert opened == [str(third)]


def test_a_file_that_was_half_written_is_read_when_it_is_whole(cache: cni.Cache) -> None:
    results = Results(cache.directory)
    path = cache.add(cni.bridge("veth1", MAC, "10.244.1.2/24"))
    whole = path.read_bytes()
    path.write_bytes(whole[:100])
    assert results.read() == []
    assert results.unreadable() == {}
    path.write_bytes(whole)
    assert [item.pod for item in results.read()] == ["shop/web"]


@pytest.mark.parametrize("length", [0, 100])
def test_a_file_that_is_being_written_again_counts_as_before_until_it_is_whole(cache: cni.Cache, length: int) -> None:
    results = Results(cache.directory)
    path = cache.add(cni.bridge("veth1", MAC, "10.244.1.2/24"))
    whole = path.read_bytes()
    (before,) = results.read()
    path.write_bytes(whole[:length])
    assert results.read() == [before]
    assert results.read() == [before]
    path.write_bytes(whole.replace(b"veth1", b"veth2"))
    assert [item.links for item in results.read()] == [(*before.links[:-1], "veth2")]
    path.unlink()
    assert results.read() == []


def test_whatever_else_is_in_the_directory_is_told_and_the_others_are_read(cache: cni.Cache, tmp_path: Path) -> None:
    results = Results(cache.directory)
    cache.add(cni.bridge("veth1", MAC, "10.244.1.2/24"))
    outside = tmp_path.parent / "outside"
    outside.write_text(json.dumps(cni.cached(OLD, "shop/forged")))
    (tmp_path / "link-1-eth0").symlink_to(outside)
    os.mkfifo(tmp_path / "pipe-1-eth0")
    (tmp_path / "directory-1-eth0").mkdir()
    (tmp_path / "huge-1-eth0").write_bytes(b" " * (LARGEST + 1))
    (tmp_path / "text-1-eth0").write_bytes(b"hello")
    for path in tmp_path.iterdir():
        os.utime(path, (1_790_000_000, 1_790_000_000), follow_symlinks=False)

    assert [item.pod for item in results.read()] == ["shop/web"]
    assert {name.partition("-")[0]: reason for name, reason in results.unreadable().items()} == {
        "link": "Too many levels of symbolic links",
        "pipe": "it is not a regular file",
        "directory": "it is not a regular file",
        "huge": "it is larger than 1048576 bytes",
        "text": "JSON is malformed: invalid character (byte 0)",
    }


def test_a_directory_that_is_not_there_is_a_problem_until_it_is(tmp_path: Path) -> None:
    directory = tmp_path / "results"
    results = Results(directory)
    assert results.read() == []
    assert results.problem == f"{directory}: No such file or directory"
    directory.mkdir()
    cni.Cache(directory).add(OLD)
    assert len(results.read()) == 1
    assert results.problem == ""


def test_a_directory_that_a_container_keeps_after_the_node_has_deleted_it_is_a_problem(tmp_path: Path) -> None:
    directory = tmp_path / "results"
    directory.mkdir()
    kept = os.open(directory, os.O_RDONLY)
    try:
        results = Results(type(directory)(f"/proc/self/fd/{kept}"))
        results.read()
        assert results.problem == ""
        directory.rmdir()
        results.read()
        assert results.problem == f"/proc/self/fd/{kept} was deleted after the agent started"
    finally:
        os.close(kept)
