# SPDX-License-Identifier: Apache-2.0
"""Write which fields the API has, as src/podfence/lab/apiserver/fields.txt, from the Go types of Kubernetes.

Usage: api-fields.py API APIMACHINERY, the folders of the Go modules k8s.io/api and k8s.io/apimachinery.

Each struct that a served kind needs is one block, each field one line: its name in JSON, its number in protobuf,
its type in Go, and marks. `fields.py` beside the output says what the marks mean. Types that are texts have no line.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import NamedTuple

ROOTS = (
    *(f"core/v1.{kind}" for kind in ("Namespace", "Node", "Pod", "Service", "Endpoints", "ConfigMap", "Secret")),
    *(f"core/v1.{kind}" for kind in ("ServiceAccount", "Event", "ReplicationController")),
    "discovery/v1.EndpointSlice",
    *(f"apps/v1.{kind}" for kind in ("Deployment", "ReplicaSet", "StatefulSet", "DaemonSet")),
    *("batch/v1.Job", "batch/v1.CronJob", "networking/v1.NetworkPolicy", "networking/v1.Ingress"),
    *(f"rbac/v1.{kind}" for kind in ("Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding")),
    *("autoscaling/v1.Scale", "authorization/v1.SelfSubjectAccessReview"),
    *("authorization/v1.SelfSubjectRulesReview", "authentication/v1.SelfSubjectReview", "meta/v1.DeleteOptions"),
)
PLAIN = {"string", "bool", "int32", "int64", "float64", "byte", "int"}
SPECIAL = {
    "meta/v1.Time", "meta/v1.MicroTime", "meta/v1.FieldsV1", "api/resource.Quantity", "util/intstr.IntOrString",
    "pkg/runtime.RawExtension", "meta/v1.Duration",
}  # fmt: skip


class Struct(NamedTuple):
    """A struct: the lines of its block, and the types that they name."""

    atomic: bool
    lines: list[str]
    types: list[str]


def read(folder: Path, package: str, structs: dict[str, Struct], aliases: dict[str, str]) -> None:
    """Add the types of a package."""
    for path in sorted(folder.glob("*.go")):
        if path.name.startswith(("zz_generated", "generated", "types_swagger")) or path.name.endswith("_test.go"):
            continue
        text = path.read_text(encoding="utf-8")
        imports = {
            (alias or name.rpartition("/")[2]): "/".join(name.split("/")[-2:])
            for alias, name in re.findall(r'^\s+(?:(\w+)\s+)?"(k8s\.io/[^"]+)"$', text, re.MULTILINE)
        }
        for name, of in re.findall(r"^type (\w+) (string|int32|int64|map\[\w+\][\w.]+|\[\]\w+)$", text, re.MULTILINE):
            aliases[f"{package}.{name}"] = full(of, package, imports)
        for match in re.finditer(r"((?:^//[^\n]*\n)*)^type (\w+) struct \{\n(.*?)^\}", text, re.MULTILINE | re.DOTALL):
            comment, name, body = match.groups()
            structs[f"{package}.{name}"] = struct("+structType=atomic" in comment, body, package, imports)


def full(text: str, package: str, imports: dict[str, str]) -> str:
    """Return a type as Go writes it, with the whole name of its package."""
    match = re.fullmatch(r"(\*|\[\]|map\[(?:[\w.]+)\])(.*)", text)
    if match:
        key = re.fullmatch(r"map\[(.*)\]", match[1])
        start = f"map[{full(key[1], package, imports)}]" if key else match[1]
        return start + full(match[2], package, imports)
    if text in PLAIN:
        return text
    prefix, dot, name = text.rpartition(".")
    return f"{imports.get(prefix, prefix)}.{name}" if dot else f"{package}.{name}"


def struct(atomic: bool, body: str, package: str, imports: dict[str, str]) -> Struct:  # noqa: FBT001
    """Return the block of a struct."""
    lines: list[str] = []
    types: list[str] = []
    comment = ""
    for line in body.splitlines():
        line = line.strip()  # noqa: PLW2901
        if line.startswith("//"):
            comment += line + "\n"
            continue
        match = re.match(r"(?:(\w+)\s+)?(\*?[\w.\[\]*]+)\s+`(.*)`", line)
        if match:
            tags = dict(re.findall(r'(\w+):"([^"]*)"', match[3]))
            of = full(match[2], package, imports)
            if added := field(of, tags, comment, inline=",inline" in tags.get("json", "")):
                lines.append(added)
                types.append(of)
        if not line or match:
            comment = ""
    return Struct(atomic, lines, types)


def field(of: str, tags: dict[str, str], comment: str, *, inline: bool) -> str:
    """Return the line of a field, "" if JSON has none for it."""
    number = re.match(r"\w+,(\d+)", tags.get("protobuf", ""))
    if inline:
        return f"~ {number[1]} {of}" if number else ""
    name, *options = tags.get("json", "-").split(",")
    if name == "-":
        return ""
    marks = []
    if "omitempty" in options or "omitzero" in options:
        marks.append("omitzero" if "omitzero" in options else "omit")
    elif "+optional" not in comment:
        marks.append("required")
    strategy = tags.get("patchStrategy", "").split(",")
    if "merge" in strategy:
        marks.append(f"merge={tags.get('patchMergeKey', '')}")
    if "retainKeys" in strategy:
        marks.append("retain")
    listed = re.search(r"\+listType=(\w+)", comment)
    if listed and listed[1] == "map":
        marks.append("map=" + ",".join(re.findall(r"\+listMapKey=(\w+)", comment)))
    elif listed and listed[1] == "set":
        marks.append("set")
    if "+structType=atomic" in comment or "+mapType=atomic" in comment:
        marks.append("whole")
    return f"{name} {number[1] if number else 0} {of} {' '.join(marks)}".rstrip()


def main() -> None:
    """Write the file."""
    api, machinery = map(Path, sys.argv[1:3])
    structs: dict[str, Struct] = {}
    aliases: dict[str, str] = {}
    for package in ("core", "apps", "batch", "networking", "discovery", "rbac", "autoscaling"):
        read(api / package / "v1", f"{package}/v1", structs, aliases)
    for package in ("authorization", "authentication"):
        read(api / package / "v1", f"{package}/v1", structs, aliases)
    read(machinery / "pkg/apis/meta/v1", "meta/v1", structs, aliases)
    read(machinery / "pkg/types", "pkg/types", structs, aliases)
    used: set[str] = set()
    waiting = list(ROOTS)
    while waiting:
        name = re.sub(r"^(?:\*|\[\]|map\[.*?\])+", "", waiting.pop())
        if name in used or name in PLAIN or name in SPECIAL:
            continue
        used.add(name)
        waiting += structs[name].types if name in structs else [aliases[name]]
    output = Path(__file__).parent.parent / "src/podfence/lab/apiserver/fields.txt"
    lines = [f"# Made by scripts/api-fields.py from the Go types of k8s.io/api and k8s.io/apimachinery {api.name[4:]}."]
    for name in sorted(used):
        if name in structs:
            lines += [
                f"{name}{' whole' if structs[name].atomic else ''}",
                *(f" {line}" for line in structs[name].lines),
            ]
        elif aliases[name] != "string":
            lines.append(f"{name} = {aliases[name]}")
    output.write_text("\n".join(lines) + "\n", encoding="utf-8")


main()
