# SPDX-License-Identifier: Apache-2.0
"""Names and address blocks against independent readings of the same rules, and the finer points of findings."""

from __future__ import annotations

import ipaddress
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from podfence.kube.findings import MapKey, Severity, field_text
from podfence.kube.validation.cidr import check_block, parse_block
from podfence.kube.validation.findings import Findings, go_quote, go_value, without_consequences
from podfence.kube.validation.names import dns_label, dns_subdomain, label_key, label_value, port_name

ALPHANUMERIC = string.ascii_letters + string.digits
NAMES = st.text(st.sampled_from("aZ0-_./ ö\n"), max_size=8) | st.text(st.sampled_from("a-."), min_size=60, max_size=66)


def is_name(text: str, inner: str, outer: str) -> bool:
    return bool(text) and text[0] in outer and text[-1] in outer and all(character in inner for character in text)


@given(NAMES)
def test_label_values(text: str) -> None:
    good = not text or is_name(text, ALPHANUMERIC + "-_.", ALPHANUMERIC)
    assert bool(label_value(text)) is not (good and len(text.encode()) <= 63)


@given(NAMES)
def test_label_keys(text: str) -> None:
    prefix, slash, name = text.rpartition("/")
    good = is_name(name, ALPHANUMERIC + "-_.", ALPHANUMERIC) and len(name) <= 63
    if slash:
        good = good and bool(prefix) and not dns_subdomain(prefix)
    assert bool(label_key(text)) is not good


@given(NAMES)
def test_subdomains_are_labels_with_dots_between(text: str) -> None:
    lower = string.ascii_lowercase + string.digits
    good = all(is_name(part, lower + "-", lower) for part in text.split("."))
    assert bool(dns_subdomain(text)) is not (good and len(text) <= 253)
    assert bool(dns_label(text)) is not (good and "." not in text and len(text) <= 63)


@given(st.text(st.sampled_from("az09-A_"), max_size=17))
def test_port_names(text: str) -> None:
    lower = string.ascii_lowercase + string.digits
    good = is_name(text, lower + "-", lower) and "--" not in text and any(c.isalpha() for c in text) and len(text) < 16
    assert bool(port_name(text)) is not good


# Address blocks


@given(st.ip_addresses(), st.integers(0, 130))
def test_a_block_means_what_its_network_is(address: ipaddress.IPv4Address | ipaddress.IPv6Address, length: int) -> None:
    block = parse_block(f"{address}/{length}")
    if length > address.max_prefixlen:
        assert block is None
        return
    network = ipaddress.ip_network((address, length), strict=False)
    assert block is not None
    mapped = address.version == 6 and address.ipv4_mapped is not None
    if not mapped:
        assert (block.family, block.first, block.length) == (address.version, int(network[0]), length)
        assert ipaddress.ip_network(block.text) == network
        assert bool(block.refusal) is (network.network_address != address)


NETWORKS = st.builds(
    lambda number, length: ipaddress.ip_network((number << 28, length), strict=False),
    st.integers(0, 15),
    st.integers(0, 6),
) | st.builds(
    lambda number, length: ipaddress.ip_network((number << 124, length), strict=False),
    st.integers(1, 15),
    st.integers(0, 6),
)


@given(NETWORKS, NETWORKS)
def test_one_block_holds_another_as_networks_do(
    outer: ipaddress.IPv4Network | ipaddress.IPv6Network, inner: ipaddress.IPv4Network | ipaddress.IPv6Network
) -> None:
    first, second = parse_block(str(outer)), parse_block(str(inner))
    assert first is not None
    assert second is not None
    holds = outer.version == inner.version and outer != inner and inner.subnet_of(outer)  # type: ignore[arg-type]
    assert first.holds_strictly(second) is holds


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("000010.0.0.1/32", "10.0.0.1/32"),
        ("00000::1/128", "::1/128"),
        ("::ffff:010.0.0.1/128", "10.0.0.1/32"),
        ("1::2:3:4:5:6:7/128", "1:0:2:3:4:5:6:7/128"),
        ("0.0.0.0/00", "0.0.0.0/0"),
    ],
)
def test_zeros_in_front_change_nothing(text: str, meant: str) -> None:
    block = parse_block(text)
    assert block is not None
    assert block.text == meant


@pytest.mark.parametrize(
    "text",
    [
        "",
        "/",
        "/8",
        "10.0.0.0/+8",
        "10.0.0.0/8\n",
        "10.0.0.0/ 8",
        "10.0.0.0/٨",
        "10.0.0.256/32",
        "1:2:3:4:5:6:7:8:9/128",
        "1:2:3:4:5:6:7::8:9/128",
        "12345::/16",
        "::1.2.3/128",
        ":::/0",
        "fe80::%eth0/64",
    ],
)
def test_what_is_no_block_at_all(text: str) -> None:
    assert parse_block(text) is None


def test_a_lax_reader_warns_of_what_a_strict_one_refuses() -> None:
    strict, lax = Findings(), Findings()
    assert check_block("10.1.2.3/24", ("cidr",), strict, lax=False) == check_block(
        "10.1.2.3/24", ("cidr",), lax, lax=True
    )
    assert ([item.severity for item in strict], [item.severity for item in lax]) == (
        [Severity.ERROR],
        [Severity.WARNING],
    )


# Findings


@pytest.mark.parametrize(
    ("text", "quoted"),
    [
        ("a", '"a"'),
        ('a"b\\', '"a\\"b\\\\"'),
        ("80\n", '"80\\n"'),
        ("ö é", '"ö é"'),
        ("\x00\x7f\u200b\U000e0001", '"\\x00\\x7f\\u200b\\U000e0001"'),
    ],
)
def test_texts_are_quoted_as_go_does(text: str, quoted: str) -> None:
    assert go_quote(text) == quoted


def test_other_values_are_compact_json() -> None:
    assert [go_value(value) for value in (80, None, ["a", "b"], {"b": "x", "a": "y"})] == [
        "80",
        "null",
        '["a","b"]',
        '{"a":"y","b":"x"}',
    ]


def test_fields_are_written_as_the_server_does() -> None:
    path = ("spec", "ingress", 0, "from", 12, "podSelector", "matchLabels", MapKey("a.b/c"))
    assert field_text(path) == "spec.ingress[0].from[12].podSelector.matchLabels[a.b/c]"


def test_what_follows_from_an_unread_field_is_not_told() -> None:
    findings, unread = Findings(), Findings()
    findings.required(("spec", "ports"))
    findings.required(("spec", "selector"))
    findings.invalid(("spec", "template"), 1, "mismatch", needs=(("spec", "selector"),))
    findings.invalid(("spec", "replicas"), -1, "negative")
    unread.invalid(("spec", "selector", "app"), 1, "expected a string")
    assert [item.path[-1] for item in without_consequences(findings, unread)] == ["ports", "replicas"]
