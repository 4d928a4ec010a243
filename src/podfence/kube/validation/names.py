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


def _judged(text: str, most: int, unit: str, pattern: re.Pattern[str], form: str) -> tuple[str, ...]:
    """Return what is wrong with a text that has a length, and a form that the message `form` names."""
    too_long = (f"must be no more than {most} {unit}",) if _length(text) > most else ()
    return too_long if pattern.fullmatch(text) else (*too_long, form)


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
    return _judged(value, LABEL_LENGTH, "bytes", _LABEL_VALUE, _VALUE_FORM)


@lru_cache(_CACHED)
def dns_label(name: str) -> tuple[str, ...]:
    """Return what is wrong with a name of one DNS label: a namespace's, a service's, a container's."""
    form = "must not contain dots" if "." in name and _DNS_SUBDOMAIN.fullmatch(name) else _LABEL_FORM
    return _judged(name, LABEL_LENGTH, "characters", _DNS_LABEL, form)


@lru_cache(_CACHED)
def dns_subdomain(name: str) -> tuple[str, ...]:
    """Return what is wrong with a name of DNS labels and dots: most objects' names."""
    return _judged(name, SUBDOMAIN_LENGTH, "characters", _DNS_SUBDOMAIN, _SUBDOMAIN_FORM)


def path_segment(name: str) -> tuple[str, ...]:
    """Return what is wrong with a name that may be anything but a step of a path: a Role's."""
    if name in (".", ".."):
        return (f"may not be '{name}'",)
    return tuple(f"may not contain '{letter}'" for letter in "/%" if letter in name)


@lru_cache(_CACHED)
def port_name(name: str) -> tuple[str, ...]:
    """Return what is wrong with the name of a port."""
    form = "must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)"
    messages = [*_judged(name, PORT_NAME_LENGTH, "characters", _PORT_NAME, form)]
    if not _LETTER.search(name):
        messages.append("must contain at least one letter (a-z)")
    if "--" in name:
        messages.append("must not contain consecutive hyphens")
    if name.startswith("-") or name.endswith("-"):
        messages.append("must not begin or end with a hyphen")
    return tuple(messages)
