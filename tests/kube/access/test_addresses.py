# SPDX-License-Identifier: Apache-2.0
"""Servers and proxies: what kubeconfigs and environments may call them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from podfence.errors import AccessError, InputError
from podfence.kube.access import address
from tests.kube.access.kubeconfigs import of, single

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("https://api.example:6443", ("https", "api.example", 6443, "")),
        ("https://api.example", ("https", "api.example", 443, "")),
        ("http://api.example/", ("http", "api.example", 80, "")),
        ("https://rancher.example/k8s/clusters/c-1/", ("https", "rancher.example", 443, "/k8s/clusters/c-1")),
        ("https://api.example/a?x=1#y", ("https", "api.example", 443, "/a")),
        ("https://[fd00::1]:6443", ("https", "fd00::1", 6443, "")),
        ("HTTPS://API.example", ("https", "api.example", 443, "")),
        # Without a scheme it is http, however secure it looks.
        ("localhost:8080", ("http", "localhost", 8080, "")),
        ("10.0.0.1:6443", ("http", "10.0.0.1", 6443, "")),
        ("api.example", ("http", "api.example", 80, "")),
        ("https://bücher.example", ("https", "xn--bcher-kva.example", 443, "")),
    ],
)
def test_servers(text: str, expected: tuple[str, str, int, str]) -> None:
    assert tuple(address.parse(text)) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("ftp://x", "begins with https:// or http://, not with ftp://"),
        ("https://", "expected a URL or HOST:PORT"),
        ("https://:443", "no host"),
        ("https://x:70000", "port is no number"),
        ("https://x:abc", "port is no number"),
        ("https://x:0", "port is no number"),
        ("https://u:s3cret@x", "a name and password in the URL are not used"),
        ("x/prefix", "expected a URL or HOST:PORT"),
        ("https://[::1", "no URL"),
        ("[::1", "no URL"),
        (f"https://{'ü' * 70}", "no name of a host"),
        ("https://a b", "no host"),
    ],
)
def test_what_is_no_server(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        address.parse(text)
    assert "s3cret" not in str(caught.value)


def test_urls_name_host_and_port() -> None:
    assert address.parse("https://[fd00::1]/p/").url == "https://[fd00::1]:443/p"


P = "http://proxy:3128"


@pytest.mark.parametrize(
    ("server", "environ", "expected"),
    [
        ("https://api.example:6443", {"HTTPS_PROXY": P}, P),
        ("https://api.example:6443", {"https_proxy": P}, P),
        ("https://api.example:6443", {"HTTPS_PROXY": "", "https_proxy": P}, P),
        ("https://api.example:6443", {"HTTPS_PROXY": P, "https_proxy": "http://other"}, P),
        ("https://api.example:6443", {"HTTP_PROXY": P}, None),
        ("https://api.example:6443", {"ALL_PROXY": P}, None),
        ("http://api.example", {"HTTP_PROXY": P, "HTTPS_PROXY": "http://other"}, P),
        ("https://api.example", {"HTTPS_PROXY": "proxy:3128"}, P),
        ("https://api.example", {"HTTPS_PROXY": "proxy"}, "http://proxy:80"),
        ("https://api.example", {"HTTPS_PROXY": "https://proxy"}, "https://proxy:443"),
        ("https://api.example", {"HTTPS_PROXY": "socks5://proxy"}, "socks5://proxy:1080"),
        ("https://api.example", {"HTTPS_PROXY": "socks5h://proxy"}, "socks5h://proxy:1080"),
        # Local servers never have one.
        ("https://localhost:6443", {"HTTPS_PROXY": P}, None),
        ("https://127.0.0.9:6443", {"HTTPS_PROXY": P}, None),
        ("https://[::1]:6443", {"HTTPS_PROXY": P}, None),
        ("https://localhost.example", {"HTTPS_PROXY": P}, P),
    ],
)
def test_the_environments_proxy(server: str, environ: dict[str, str], expected: str | None) -> None:
    found = address.proxy_from_environment(address.parse(server), environ)
    assert (found.url if found is not None else None) == expected


@pytest.mark.parametrize(
    ("exceptions", "server", "is_excepted"),
    [
        ("*", "https://api.example", True),
        ("example", "https://api.example", True),
        ("api.example", "https://api.example", True),
        ("API.Example", "https://api.example", True),
        (".example", "https://api.example", True),
        ("*.example", "https://api.example", True),
        ("*api.example", "https://api.example", False),
        (".api.example", "https://api.example", False),
        ("*.api.example", "https://api.example", False),
        ("i.example", "https://api.example", False),
        ("api.example:443", "https://api.example", True),
        ("api.example:6443", "https://api.example", False),
        ("api.example:6443", "https://api.example:6443", True),
        ("a, b ,,api.example", "https://api.example", True),
        ("10.0.0.0/8", "https://10.1.2.3", True),
        ("10.0.0.1/8", "https://10.1.2.3", True),
        ("10.0.0.0/8", "https://11.1.2.3", False),
        ("10.1.2.3", "https://10.1.2.3", True),
        ("10.1.2.3:443", "https://10.1.2.3", True),
        ("10.1.2.3:80", "https://10.1.2.3", False),
        ("2.3", "https://10.1.2.3", False),
        (".3", "https://10.1.2.3", False),
        ("fd00::/8", "https://[fd00::1]", True),
        ("fd00::1", "https://[fd00::1]:6443", True),
        ("[fd00::1]:6443", "https://[fd00::1]:6443", True),
        ("[fd00::1]:443", "https://[fd00::1]:6443", False),
        ("10.0.0.0/8", "https://api.example", False),
        ("10.0.0.0/99", "https://10.0.0.0", False),
        (":443", "https://api.example", False),
    ],
)
def test_exceptions_from_proxies(exceptions: str, server: str, is_excepted: bool) -> None:
    for variable in ("NO_PROXY", "no_proxy"):
        found = address.proxy_from_environment(address.parse(server), {"HTTPS_PROXY": P, variable: exceptions})
        assert (found is None) == is_excepted


def test_a_clusters_own_proxy_comes_before_the_environments(tmp_path: Path) -> None:
    path = single(tmp_path / "config", cluster={"proxy-url": "socks5://me:p%40ss@own"})
    access = of(path, {"HTTPS_PROXY": P, "NO_PROXY": "*"})
    assert access.proxy is not None
    assert access.proxy.url == "socks5://own:1080"
    assert (access.proxy.username, access.proxy.password.reveal()) == ("me", "p@ss")
    assert of(single(tmp_path / "config"), {"HTTPS_PROXY": P}).proxy == address.parse_proxy(P)


@pytest.mark.parametrize("url", ["own:3128", "ftp://own", "http://", "http://own:x", "http://[::1", "socks5h://own"])
def test_what_is_no_proxy(tmp_path: Path, url: str) -> None:
    with pytest.raises(InputError, match=r"clusters\[0\].cluster.proxy-url: "):
        of(single(tmp_path / "config", cluster={"proxy-url": url}))


def test_a_variable_that_is_no_proxy_is_named_without_its_value() -> None:
    with pytest.raises(AccessError, match=r"^HTTPS_PROXY: ") as caught:
        address.proxy_from_environment(address.parse("https://a"), {"HTTPS_PROXY": "gopher://me:s3cret@proxy"})
    assert "s3cret" not in str(caught.value)
