# SPDX-License-Identifier: Apache-2.0
"""What people type as ends: kubectl's spellings, names of DNS, ends with their port, and what can be no end.

deploy/web  deployment.apps/web  node/n1    as kubectl names objects
web.shop.svc.cluster.local                  a Service, or one pod of a headless one, by its DNS name
web:8080  [fd00::1]:443                     an end with its port
"""

from __future__ import annotations

import re
from typing import NamedTuple

from podfence.errors import EndpointError
from podfence.kube.objects import Key
from podfence.sets.addresses import parse_address

# Compiled where they are needed, because that takes longer than to answer most questions.
_BRACKETS = r"\[([^\]]*)\](?::(.+))?"
_URL = r"(?i)(?P<scheme>[a-z][a-z0-9+.-]*)://(?P<host>\[[^\]]*\]|[^/:?#]*)(?::(?P<port>[0-9]+))?.*"
_SCHEME_PORTS = {"http": "80", "https": "443", "postgres": "5432", "redis": "6379", "grpc": "443", "ldap": "389"}
_SERVICE_NAME = r"(?:(?P<pod>[a-z0-9-]+)\.)?(?P<name>[a-z0-9-]+)\.(?P<space>[a-z0-9-]+)\.svc(?:\..*)?"
_POD_NAME = r"(?P<address>[0-9a-f-]+)\.(?P<space>[a-z0-9-]+)\.pod(?:\..*)?"
_DNS = r"(\*\.)?([A-Za-z0-9_-]+\.)+[A-Za-z][A-Za-z0-9-]*\.?"
_LIKE_V4 = r"[0-9]+(\.[0-9*x]+)+(/.*)?"
_LIKE_V6 = r"[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*:[0-9A-Fa-f:.%a-z]*(/.*)?"
_RANGE = r"[0-9A-Fa-f:.]+\s*-\s*[0-9A-Fa-f:.]+"
_NODE = "node:"


class Spelled(NamedTuple):
    """The text of an end, and the port that is written with it, "" if none."""

    text: str
    port: str


def spelled(text: str) -> Spelled:
    """Return an end and its port: ``web:8080`` is ``web`` and ``8080``; raises EndpointError for a URL."""
    text = text.strip()
    _refuse_url(text)
    if text.startswith("[") and (brackets := re.fullmatch(_BRACKETS, text)):
        return Spelled(brackets[1], brackets[2] or "")
    prefix = _NODE if text.startswith(_NODE) else ""
    rest = text.removeprefix(prefix)
    end, separator, port = rest.partition(":")
    if separator and end and port and ":" not in port:
        return Spelled(prefix + end, port)
    return Spelled(text, "")


def taken_apart(source: str, destination: str, port: int | str | None) -> tuple[str, str, int | str | None]:
    """Return a question with the port of its destination in the place for it.

    Raises EndpointError for a port of the source, which never matters (semantics 1.1), and for two different ports.
    """
    if (written := spelled(source)).port:
        raise EndpointError(f"{source}: the port of a source never matters (semantics 1.1): write {written.text}")
    end = spelled(destination)
    if end.port and port not in (None, "", end.port):
        raise EndpointError(f"{destination}: {end.port} is one port, and {port} another: write one of them")
    return source, end.text, end.port or port


def _refuse_url(text: str) -> None:
    url = re.fullmatch(_URL, text) if "://" in text else None
    if url is None:
        return
    port = url["port"] or _SCHEME_PORTS.get(url["scheme"].lower(), "")
    what = f"{url['host']} {port}".rstrip()
    raise EndpointError(f"{text!r} is a URL: name its host and its port, as in `{what or 'HOST PORT'}`")


def service_of(text: str) -> tuple[Key, str] | None:
    """Return the Service that a DNS name of a cluster means, and the pod of it, "" if it is the Service itself.

    The domain of the cluster may be any, and may be left out, but ``svc`` may not.
    """
    found = re.fullmatch(_SERVICE_NAME, text.rstrip("."))
    return (Key("Service", found["space"], found["name"]), found["pod"] or "") if found else None


def address_of_pod_name(text: str) -> str:
    """Return the address in a pod's DNS name (``10-1-0-7.shop.pod.cluster.local``), "" for any other text."""
    found = re.fullmatch(_POD_NAME, text.rstrip("."))
    if found is None:
        return ""
    for separator in ".:":
        address = found["address"].replace("-", separator)
        try:
            parse_address(address)
        except ValueError:
            continue
        return address
    return ""


def no_end(text: str) -> str:
    """Return what a text plainly is that can be no end, and what to write instead; "" if it may be a name."""
    if text in ("localhost", "localhost.localdomain"):
        return f"{text!r} is the pod itself: write self"
    if re.fullmatch(_RANGE, text):
        return f"{text!r} is a range of addresses: write blocks, such as 10.0.0.0/24"
    if "%" in text and re.fullmatch(_LIKE_V6, text):
        return f"{text!r} names a link: write the address without what follows the percent sign"
    if re.fullmatch(_LIKE_V4, text) or re.fullmatch(_LIKE_V6, text):
        return f"{text!r} is no address, and no block of addresses: write 203.0.113.9, 10.0.0.0/8 or fd00::/8"
    if re.fullmatch(_DNS, text):
        return (
            f"{text!r} is a DNS name: policies know addresses (semantics 3.8), so ask about those it has; "
            "a Service is NAMESPACE/svc/NAME"
        )
    return ""
