# SPDX-License-Identifier: Apache-2.0
"""Names: labels' keys and values, object names, port names (semantics 9.1, 9.5, 9.6).

Every function returns the API server's messages, none if the name is good.
"""

from __future__ import annotations

import re
from functools import lru_cache

_CACHED = 1 << 16

_NAME_PART = re.compile(r"([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]")
_LABEL_VALUE = re.compile(r"(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?")
_DNS_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
_DNS_SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_PORT_NAME = re.compile(r"[-a-z0-9]+")
_LETTER = re.compile(r"[a-z]")

_CHARACTERS = (
    "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character"
)
_QUALIFIED = (
    f"{_CHARACTERS} (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is "
    "'([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"
)
_KEY_FORM = f"a valid label key {_QUALIFIED} with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"
_VALUE_FORM = (
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and "
    "end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is "
    "'(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"
)
_LABEL_FORM = (
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end "
    "with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is "
    "'[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
)
_SUBDOMAIN_FORM = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start "
    "and end with an alphanumeric character (e.g. 'example.com', regex used for validation is "
    "'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
)

LABEL_LENGTH = 63
SUBDOMAIN_LENGTH = 253
PORT_NAME_LENGTH = 15


def _length(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))


@lru_cache(_CACHED)
def label_key(key: str) -> tuple[str, ...]:
    """Return what is wrong with a label's or annotation's key."""
    prefix, separator, name = key.rpartition("/")
    if "/" in prefix:
        return (_KEY_FORM,)
    messages: list[str] = []
    if separator and not prefix:
        messages.append("prefix part must be non-empty")
    elif separator:
        if _length(prefix) > SUBDOMAIN_LENGTH:
            messages.append(f"prefix part must be no more than {SUBDOMAIN_LENGTH} bytes")
        if not _DNS_SUBDOMAIN.fullmatch(prefix):
            messages.append(f"prefix part {_SUBDOMAIN_FORM}")
    if not name:
        messages.append("name part must be non-empty")
    elif _length(name) > LABEL_LENGTH:
        messages.append(f"name part must be no more than {LABEL_LENGTH} bytes")
    if not _NAME_PART.fullmatch(name):
        messages.append(f"name part {_QUALIFIED}")
    return tuple(messages)


@lru_cache(_CACHED)
def label_value(value: str) -> tuple[str, ...]:
    """Return what is wrong with a label's value."""
    messages: list[str] = []
    if _length(value) > LABEL_LENGTH:
        messages.append(f"must be no more than {LABEL_LENGTH} bytes")
    if not _LABEL_VALUE.fullmatch(value):
        messages.append(_VALUE_FORM)
    return tuple(messages)


@lru_cache(_CACHED)
def dns_label(name: str) -> tuple[str, ...]:
    """Return what is wrong with a name of one DNS label: a namespace's, a service's, a container's."""
    messages: list[str] = []
    if _length(name) > LABEL_LENGTH:
        messages.append(f"must be no more than {LABEL_LENGTH} characters")
    if not _DNS_LABEL.fullmatch(name):
        messages.append("must not contain dots" if _DNS_SUBDOMAIN.fullmatch(name) else _LABEL_FORM)
    return tuple(messages)


@lru_cache(_CACHED)
def dns_subdomain(name: str) -> tuple[str, ...]:
    """Return what is wrong with a name of DNS labels and dots: most objects' names."""
    messages: list[str] = []
    if _length(name) > SUBDOMAIN_LENGTH:
        messages.append(f"must be no more than {SUBDOMAIN_LENGTH} characters")
    if not _DNS_SUBDOMAIN.fullmatch(name):
        messages.append(_SUBDOMAIN_FORM)
    return tuple(messages)


@lru_cache(_CACHED)
def port_name(name: str) -> tuple[str, ...]:
    """Return what is wrong with the name of a port."""
    messages: list[str] = []
    if _length(name) > PORT_NAME_LENGTH:
        messages.append(f"must be no more than {PORT_NAME_LENGTH} characters")
    if not _PORT_NAME.fullmatch(name):
        messages.append("must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)")
    if not _LETTER.search(name):
        messages.append("must contain at least one letter (a-z)")
    if "--" in name:
        messages.append("must not contain consecutive hyphens")
    if name.startswith("-") or name.endswith("-"):
        messages.append("must not begin or end with a hyphen")
    return tuple(messages)
