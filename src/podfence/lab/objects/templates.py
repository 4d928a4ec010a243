# SPDX-License-Identifier: Apache-2.0
"""Pod templates as they are written: the fields that only matter to something that runs pods."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, cast

import msgspec

from podfence.kube import wire
from podfence.kube.objects import ContainerPort
from podfence.kube.validation.findings import Findings
from podfence.kube.validation.shape import examine
from podfence.lab.objects.containers import Container, Restart

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from podfence.kube.findings import Finding
    from podfence.kube.objects import Protocol
    from podfence.kube.source import Origin

_REFERENCE: Final = re.compile(r"\$\$|\$\(([^()$\s]+)\)")


class _Variable(wire.EnvVar):
    value_from: dict[str, object] | None = None


class _Container(wire.Fields):
    name: str | None = None
    image: str | None = None
    command: wire.Strings | None = None
    args: wire.Strings | None = None
    env: list[_Variable | None] | None = None
    env_from: list[object] | None = None
    ports: list[wire.ContainerPort | None] | None = None
    working_dir: str | None = None
    restart_policy: str | None = None
    stdin: bool | None = None
    stdin_once: bool | None = None
    tty: bool | None = None


class _DnsOption(wire.Fields):
    name: str | None = None
    value: str | None = None


class _DnsConfig(wire.Fields):
    nameservers: wire.Strings | None = None
    searches: wire.Strings | None = None
    options: list[_DnsOption | None] | None = None


class _Spec(wire.Fields):
    containers: list[_Container | None] | None = None
    init_containers: list[_Container | None] | None = None
    node_name: str | None = None
    restart_policy: str | None = None
    hostname: str | None = None
    subdomain: str | None = None
    dns_policy: str | None = None
    dns_config: _DnsConfig | None = None
    node_selector: wire.Texts | None = None


class _Template(wire.Fields):
    spec: _Spec | None = None


class Resolver(msgspec.Struct, frozen=True):
    """`dnsPolicy` and `dnsConfig` of a pod."""

    policy: str = "ClusterFirst"
    servers: tuple[str, ...] = ()
    searches: tuple[str, ...] = ()
    options: tuple[str, ...] = ()


class Template(msgspec.Struct, frozen=True):
    """What a pod runs and where; `notes` say what of the written form is left out, a sentence each."""

    containers: tuple[Container, ...] = ()
    restart: Restart = "Always"
    hostname: str = ""
    subdomain: str = ""
    resolver: Resolver = Resolver()
    node: str = ""
    node_labels: dict[str, str] = {}
    notes: tuple[str, ...] = ()


def read_template(value: object, origin: Origin) -> tuple[Template, list[Finding]]:
    """Return what a Pod or a pod template says about running it, and what cannot be read.

    `value` is the mapping at `origin` that holds `spec`; its object must have passed validation, which
    does not look at the fields that only matter here.
    """
    problems: list[Finding] = []
    try:
        written = msgspec.convert(value, _Template)
    except msgspec.ValidationError:
        findings = Findings()
        written = msgspec.convert(examine(value, _Template, findings), _Template)
        problems = [
            msgspec.structs.replace(finding.at(origin), path=(*origin.path, *finding.path)) for finding in findings
        ]
    spec = written.spec or _Spec()
    sidecars = [item for item in spec.init_containers or () if item and item.restart_policy == "Always"]
    main = [item for item in spec.containers or () if item]
    return (
        Template(
            containers=(
                *(_container(item, sidecar=True) for item in sidecars),
                *(_container(item, sidecar=False) for item in main),
            ),
            restart=cast("Restart", spec.restart_policy or "Always"),
            hostname=spec.hostname or "",
            subdomain=spec.subdomain or "",
            resolver=_resolver(spec),
            node=spec.node_name or "",
            node_labels={key: text or "" for key, text in (spec.node_selector or {}).items()},
            notes=tuple(_left_out(spec)),
        ),
        problems,
    )


def _container(written: _Container, *, sidecar: bool) -> Container:
    env: dict[str, str] = {}
    for item in written.env or ():
        if item is not None and item.name and item.value_from is None:
            # A variable may refer to those before it.
            env[item.name] = _expanded(item.value or "", env)
    return Container(
        name=written.name or "",
        image=written.image or "",
        command=tuple(_expanded(text or "", env) for text in written.command or ()),
        args=tuple(_expanded(text or "", env) for text in written.args or ()),
        env=env,
        ports=tuple(
            ContainerPort(port.container_port or 0, cast("Protocol", port.protocol or "TCP"), port.name or "", sidecar)
            for port in written.ports or ()
            if port is not None
        ),
        working_dir=written.working_dir or "",
        stdin=bool(written.stdin),
        stdin_once=bool(written.stdin_once),
        tty=bool(written.tty),
    )


def _expanded(text: str, env: Mapping[str, str]) -> str:
    """Replace ``$(NAME)`` as Kubernetes does: unknown names stay, ``$$`` is a dollar sign."""
    return _REFERENCE.sub(lambda found: env.get(found[1], found[0]) if found[1] else "$", text)


def _resolver(spec: _Spec) -> Resolver:
    config = spec.dns_config or _DnsConfig()
    return Resolver(
        policy=spec.dns_policy or "ClusterFirst",
        servers=_texts(config.nameservers),
        searches=_texts(config.searches),
        options=tuple(
            f"{option.name}:{option.value}" if option.value else option.name
            for option in config.options or ()
            if option is not None and option.name
        ),
    )


def _texts(written: Iterable[str | None] | None) -> tuple[str, ...]:
    return tuple(text for text in written or () if text)


def _left_out(spec: _Spec) -> Iterator[str]:
    for item in spec.init_containers or ():
        if item is not None and item.restart_policy != "Always":
            yield f"the lab does not run init container {item.name}"
    for item in (*(spec.init_containers or ()), *(spec.containers or ())):
        if item is None:
            continue
        names = [variable.name or "" for variable in item.env or () if variable and variable.value_from is not None]
        if names:
            yield f"container {item.name} runs without {', '.join(names)}: the lab sets only plain values of env"
        if item.env_from:
            yield f"container {item.name} runs without the variables of envFrom"
    if spec.dns_config is not None and len(_texts(spec.dns_config.nameservers)) > 1:
        yield "the lab uses only the first nameserver of dnsConfig"
