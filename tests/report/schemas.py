# SPDX-License-Identifier: Apache-2.0
"""What SARIF 2.1.0 and GitLab say of the parts of their formats that podfence writes; an unknown field is an error.

Written from the standard (sections 3.13 to 3.30), from what GitHub's code scanning asks for besides, and from GitLab's
reference of code quality reports.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

Number = Annotated[int, Meta(ge=1)]
Words = Annotated[str, Meta(min_length=1)]
# A path from the root of the repository, as a reference (RFC 3986) and as a name: neither absolute nor with dots first.
Uri = Annotated[str, Meta(pattern=r"\A(?!/|\.\.?/)([\w.~!$&'()*+,;=@/-]|%[0-9A-F]{2})+\Z")]
Relative = Annotated[str, Meta(pattern=r"\A(?!/|\./|\.\./).")]
Hash = Annotated[str, Meta(pattern=r"\A[0-9a-f]{32}\Z")]


class Text(msgspec.Struct, forbid_unknown_fields=True):
    text: Words


class Rule(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    id: Words
    short_description: Text


class Driver(msgspec.Struct, forbid_unknown_fields=True):
    name: Literal["podfence"]
    version: Words
    rules: list[Rule]


class Tool(msgspec.Struct, forbid_unknown_fields=True):
    driver: Driver


class Artifact(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    uri: Uri
    uri_base_id: Literal["%SRCROOT%"]


class Region(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    start_line: Number
    start_column: Number


class Physical(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    artifact_location: Artifact
    region: Region


class Location(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    physical_location: Physical


class Prints(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    primary_location_line_hash: Annotated[str, Meta(pattern=r"\A[0-9a-f]{32}:1\Z")]


class Result(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    rule_id: Words
    level: Literal["none", "note", "warning", "error"]
    message: Text
    partial_fingerprints: Prints
    locations: list[Location] = []


class Run(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    tool: Tool
    column_kind: Literal["utf16CodeUnits", "unicodeCodePoints"]
    results: list[Result]


class Sarif(msgspec.Struct, forbid_unknown_fields=True):
    """A log file of SARIF."""

    schema: Annotated[str, Meta(pattern=r"\Ahttps://.*/sarif-schema-2\.1\.0\.json\Z")] = msgspec.field(name="$schema")
    version: Literal["2.1.0"]
    runs: Annotated[list[Run], Meta(min_length=1)]


class Lines(msgspec.Struct, forbid_unknown_fields=True):
    begin: Number


class Place(msgspec.Struct, forbid_unknown_fields=True):
    path: Relative
    lines: Lines


class Entry(msgspec.Struct, forbid_unknown_fields=True):
    """One entry of a code quality report of GitLab."""

    description: Words
    check_name: Words
    fingerprint: Hash
    severity: Literal["info", "minor", "major", "critical", "blocker"]
    location: Place
