# SPDX-License-Identifier: Apache-2.0
"""Observations tried in a lab: connections and commands between real pods, before and after the policies go.

With PODFENCE_LONG=1 the pods of a node share a bridge.
"""

from __future__ import annotations

import json
import os
import tempfile
import time
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
import yaml

from podfence import Decision
from podfence.kube.decode import decode
from podfence.kube.yaml import parse
from podfence.lab.client import Client
from podfence.lab.processes.probing import Probe
from podfence.lab.rest import RefusedError, Rest, path, resource
from podfence.lab.status import LabPod, LabStatus
from tests.lab.labs import EXAMPLES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from podfence.kube.objects import KubeObject
    from podfence.lab.addresses import PodNetworkKind
    from tests.observations.observations import Row, Situation

PATIENCE = 120.0

NETWORK: PodNetworkKind = "bridge" if os.environ.get("PODFENCE_LONG") else "routed"

# What the lab's DNS says of the name that the documents look up outside of the cluster.
NAME, ADDRESS = "google.com", "142.251.42.238"

_OPEN_PORTS = {"example/app-on-two-ports:1": (8000, 5000)}
_PLAIN = {"name": "namespace", "text": "{apiVersion: v1, kind: Namespace, metadata: {name: default}}"}


class Stage(NamedTuple):
    """What situations have in common that can be tried one after the other in one lab."""

    example: str
    application: str
    options: tuple[str, ...]

    @classmethod
    def of(cls, situation: Situation) -> Stage:
        # A server stores policies in the newest version, and only an old cluster knows the old meaning.
        is_old = situation.example == "before-1-7" and not situation.options
        return cls(situation.example, situation.files[0], ("legacy=v1beta1",) if is_old else situation.options)

    def __str__(self) -> str:
        return "-".join((self.example, self.application.removesuffix(".yaml"), *self.options))


class Observed(NamedTuple):
    """What became of a connection, with the policies and without, and what the commands printed meanwhile."""

    outcome: str
    without: str
    printed: list[str]


def observe(stage: Stage, rows: Sequence[Row], commands: Mapping[str, Sequence[str]], name: str) -> dict[str, Observed]:
    """Return what is observed for each row of a stage by its id; `commands` are run in the sources of rows."""
    found: dict[str, Observed] = {}
    visitors = dict.fromkeys(end for row in rows for end in (row.source, row.destination) if "=" in end)
    with Lab.up(name, stage.options) as lab:
        lab.apply(_file(stage.example, stage.application), *_visitors(visitors))
        for situation in dict.fromkeys(row.situation for row in rows):
            files = [_file(stage.example, file) for file in situation.files[1:]]
            pods = [file for file in files if any(_ports(file["text"]))]
            policies = [file for file in files if file not in pods]
            lab.apply(*files)
            here = [row for row in rows if row.situation == situation]
            outcomes, printed = lab.try_out(here, commands)
            lab.delete(*policies)
            # Waited for as if they were allowed: nothing is in the way any more.
            without, _ = lab.try_out([row._replace(decision=Decision.ALLOWED) for row in here], {})
            lab.delete(*pods)
            found |= {row.id: Observed(outcomes[row.id], without[row.id], printed[row.id]) for row in here}
    return found


class Lab:
    """A lab and where everything is in it."""

    def __init__(self, client: Client, pool: ThreadPoolExecutor) -> None:
        self._client = client
        self._pool = pool
        self._ports: dict[str, tuple[int, ...]] = {}
        self.status = self._status()

    @classmethod
    @contextmanager
    def up(cls, name: str, options: Sequence[str]) -> Iterator[Lab]:
        """Give an empty lab with these options, and end it."""
        client = Client(name)
        client.up(settings=options, network=NETWORK)
        try:
            with ThreadPoolExecutor(32) as pool:
                yield cls(client, pool)
        finally:
            client.down()

    # Changes

    def apply(self, *sources: dict[str, str]) -> None:
        """Apply manifests, and return when every pod answers and every Service has its name."""
        assert self._client.apply(self._objects(sources))["problems"] == []
        for source in sources:
            self._ports |= dict(_ports(source["text"]))
        self.status = self._status()
        _until(self._answers, "all pods answer their nodes and all names are known")

    def delete(self, *sources: dict[str, str]) -> None:
        """Delete what manifests name, and what annotates the namespace that cannot be deleted."""
        server = Rest(self._client.access(), print)
        for item in (item for source in sources for item in yaml.safe_load_all(source["text"]) if item):
            row, meta = resource(item["kind"]), item["metadata"]
            with suppress(RefusedError):
                server.send("DELETE", path(row, meta.get("namespace", "default"), meta["name"]))
        self._client.apply(self._objects([_PLAIN]))
        self.status = self._status()
        assert self.status.policies == ()

    def _objects(self, sources: Iterable[dict[str, str]]) -> list[KubeObject]:
        read = [document for source in sources for document in parse(source["text"].encode(), source["name"])[0]]
        legacy = self._client.request("about")["legacy"]
        return decode(read, legacy=legacy).objects

    def _status(self) -> LabStatus:
        return msgspec.convert(self._client.request("status"), LabStatus)

    def _answers(self) -> bool:
        # A node reaches its pods whatever the policies are.
        probes: dict[str, list[Probe]] = defaultdict(list)
        for pod in self.status.pods:
            for port in self._ports.get(f"{pod.namespace}/{pod.name}", ()):
                probes[f"node:{pod.node}"].append(Probe("tcp", "", pod.addresses[0], port))
        asked = [self._pool.submit(self._client.probe, place, items) for place, items in probes.items()]
        names = [f"{item.name}.{item.namespace}.svc.cluster.local" for item in self.status.services]
        servers = [pod for pod in self.status.pods if pod.name.startswith("coredns")]
        looked_up = [
            self._pool.submit(self.run, f"node:{pod.node}", f"nslookup {name} {pod.addresses[0]}")
            for pod in servers
            for name in names
        ]
        outcomes = {outcome for item in asked for outcome in item.result()}
        return outcomes <= {"open"} and all("Name:" in item.result() for item in looked_up)

    # Tries

    def try_out(
        self, rows: Sequence[Row], commands: Mapping[str, Sequence[str]]
    ) -> tuple[dict[str, str], dict[str, list[str]]]:
        """Return what becomes of the connection of each row, and what its commands print, all at the same time."""
        printed = {
            row.id: [
                self._pool.submit(self.run, self._place(row.source, row.destination), self._filled(command))
                for command in commands.get(row.id, ())
            ]
            for row in rows
        }
        found = {row.id: self._pool.submit(self._ask, row) for row in rows if row.port == "53/udp"}
        places: dict[str, dict[str, Probe]] = defaultdict(dict)
        for row in rows:
            if row.port != "53/udp":
                places[self._place(row.source, row.destination)][row.id] = self._probe(row)
        probed = {
            tuple(probes): self._pool.submit(self._client.probe, place, list(probes.values()))
            for place, probes in places.items()
        }
        outcomes = {identifier: item.result() for identifier, item in found.items()}
        for identifiers, item in probed.items():
            outcomes |= dict(zip(identifiers, item.result(), strict=True))
        return outcomes, {identifier: [item.result() for item in items] for identifier, items in printed.items()}

    def run(self, place: str, command: str) -> str:
        """Return what a command prints in a place."""
        with open(os.devnull, "rb") as nothing, tempfile.TemporaryFile() as output:  # noqa: PTH123 - a device
            fds = (nothing.fileno(), output.fileno(), output.fileno())
            self._client.execute(place, command.split(), fds)
            output.seek(0)
            return output.read().decode()

    def _ask(self, row: Row) -> str:
        """Return whether a DNS server answers: one does not answer what is no question."""
        place = self._place(row.source, row.destination)
        answer = self.run(place, f"timeout 2 nslookup {NAME} {self._address(row.destination, row.source)}")
        return "open" if f"Address: {ADDRESS}" in answer else "timeout"

    def _probe(self, row: Row) -> Probe:
        number, _, protocol = str(row.port).partition("/")
        kind: Any = "icmp" if number == "icmp" else protocol or "tcp"
        source = row.source if _is_outside(row.source) else ""
        destination = self._address(row.destination, row.source)
        port = 0 if kind == "icmp" else int(number)
        return Probe(kind, source, destination, port, expected=row.decision is Decision.ALLOWED)

    # Places

    def _place(self, end: str, other: str) -> str:
        if end.startswith("node:"):
            return f"node:{self._node(other)}"
        return "outside" if _is_outside(end) else _visitor(end)

    def _address(self, end: str, other: str) -> str:
        if end.startswith("node:"):
            (address,) = [node.addresses[0] for node in self.status.nodes if node.name == self._node(other)]
        elif "/svc/" in end:
            namespace, _, name = end.split("/")
            items = self.status.services
            (address,) = [item.addresses[0] for item in items if (item.namespace, item.name) == (namespace, name)]
        else:
            address = end if _is_outside(end) else self._pods()[_visitor(end)].addresses[0]
        return address

    def _node(self, pod: str) -> str:
        """Return the node of a pod: that is the one meant, whatever the example calls it."""
        return self._pods()[pod].node

    def _pods(self) -> dict[str, LabPod]:
        return {f"{pod.namespace}/{pod.name}": pod for pod in self.status.pods}

    def _filled(self, command: str) -> str:
        return command.format(node=self.status.nodes[0].addresses[0])


def _is_outside(end: str) -> bool:
    return "/" not in end and not end.startswith("node:")


def _visitor(end: str) -> str:
    """Return namespace and name of the pod that stands for an end: one that is only labels has a made up name."""
    namespace, _, name = end.partition("/")
    return f"{namespace}/{name.replace('=', '-').replace(',', '-')}"


def _visitors(ends: Iterable[str]) -> Iterator[dict[str, str]]:
    """Yield the pods that the documents start only to connect from them."""
    for end in ends:
        namespace, name = _visitor(end).split("/")
        labels = dict(item.split("=") for item in end.partition("/")[2].split(","))
        container = {"name": "visitor", "image": "alpine", "command": ["sleep", "infinity"]}
        metadata = {"name": name, "namespace": namespace, "labels": labels}
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {"containers": [container]}}
        yield {"name": name, "text": json.dumps(pod)}


def _file(example: str, name: str) -> dict[str, str]:
    return {"name": name, "text": (EXAMPLES / example / name).read_text()}


def _ports(text: str) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Yield the pods of a manifest with the TCP ports that they answer on."""
    for item in yaml.safe_load_all(text):
        if item["kind"] == "Pod":
            declared = [
                port["containerPort"]
                for container in item["spec"]["containers"]
                for port in container.get("ports", ())
                if port.get("protocol", "TCP") == "TCP"
            ]
            known = [
                port for container in item["spec"]["containers"] for port in _OPEN_PORTS.get(container["image"], ())
            ]
            yield f"{item['metadata'].get('namespace', 'default')}/{item['metadata']['name']}", (*declared, *known)


def _until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, f"not after {PATIENCE} s: {what}"
