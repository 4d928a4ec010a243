# SPDX-License-Identifier: Apache-2.0
"""What upstream leaves to the implementation, as one value with stated defaults.

Each field of `Options` is one question that the Kubernetes documents leave open or that
implementations answer differently; its `Choice` names the values, the default and the rule of the
specification. ``depends`` as a value means: where the answers differ, say so.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from msgspec import Struct
from msgspec.structs import replace

from podfence.errors import OptionError, nearest
from podfence.sets import AddressSet

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

KINDS: Final = ("Namespace", "Node", "Pod", "Service", "EndpointSlice")
"""The kinds of which an answer may rest on what is not in the input."""


class Choice(NamedTuple):
    """The description of one option: its values (default first), the rule it stands for, and what it decides.

    Besides `values` there are those of a `form`, if it has one: lists of what `item` accepts, after its `prefix`.
    """

    values: tuple[str, ...]
    rule: str
    meaning: str
    form: str = ""
    prefix: str = ""
    item: Callable[[str], bool] = lambda _: False

    def accepts(self, value: str) -> bool:
        """Return whether the option can have a value."""
        if value in self.values:
            return True
        return value.startswith(self.prefix) and all(map(self.item, value.removeprefix(self.prefix).split(",")))

    def written(self) -> tuple[str, ...]:
        """Return what can be written as a value."""
        return (*self.values, self.form) if self.form else self.values


_CHOICES: Final[list[Choice]] = []


def _choice(*values: str, rule: str, meaning: str, **form: Any) -> str:  # noqa: ANN401  what `Choice` takes
    """Describe the next field of `Options`, and return its default."""
    _CHOICES.append(Choice(values, rule, meaning, **form))
    return values[0]


def _is_cidr(text: str) -> bool:
    try:
        AddressSet.cidr(text)
    except ValueError:
        return False
    return True


class Options(Struct, frozen=True):
    """The engine's options; every value is one of the strings its `Choice` lists."""

    self_traffic: str = _choice(
        "allowed",
        "policy",
        rule="7.1",
        meaning="a pod connecting to its own address: always allowed, or judged by policy",
    )
    hairpin: str = _choice(
        "allowed",
        "policy",
        "depends",
        rule="7.2",
        meaning="a pod reaching itself through its Service: allowed, judged by policy, or undefined",
    )
    own_node_egress: str = _choice(
        "policy",
        "allowed",
        "depends",
        rule="7.4",
        meaning="an egress-isolated pod connecting to its own node: judged by policy like any address, or exempt",
    )
    host_network: str = _choice(
        "node", "pod", rule="7.6", meaning="hostNetwork pods: part of their node, or pods like others for selectors"
    )
    named_port_without_peer: str = _choice(
        "any-pod",
        "own-namespace",
        "never",
        rule="5.7",
        meaning="a named port in an egress rule without `to` or with an ipBlock: on which pods it is looked up",
    )
    init_ports: str = _choice(
        "sidecars",
        "containers",
        rule="5.8",
        meaning="where port names are looked up: containers and restartable init containers, or containers only",
    )
    icmp: str = _choice(
        "portless",
        "denied",
        "allowed",
        "depends",
        rule="7.12",
        meaning="ICMP and isolated pods: admitted by rules without ports, never admitted, always, or undefined",
    )
    ip_block_pods: str = _choice(
        "match",
        "never",
        "depends",
        rule="6.2",
        meaning="ipBlock over pod addresses: matches, never matches, or undefined",
    )
    ip_block_nodes: str = _choice(
        "match",
        "never",
        "depends",
        rule="12.4",
        meaning="ipBlock over node addresses: matches, never matches, or undefined",
    )
    service_source: str = _choice(
        "depends",
        "client",
        "node",
        rule="7.9",
        meaning="the source of outside traffic to a NodePort or LoadBalancer Service (externalTrafficPolicy Cluster): "
        "its own or a node's address, or undefined where they differ",
    )
    source_ranges: str = _choice(
        "depends",
        "enforced",
        "ignored",
        rule="7.17",
        meaning="whether sources outside loadBalancerSourceRanges of a Service can connect to its load balancer: no "
        "(enforced), yes (ignored), or undefined",
    )
    end_port: str = _choice(
        "range",
        "first",
        rule="5.3",
        meaning="endPort: honoured, or ignored by a plugin without support (first port only)",
    )
    pod_families: str = _choice(
        "ipv4",
        "ipv6",
        "dual",
        rule="8.6",
        meaning="the address families assumed of a pod whose addresses are not known",
    )
    world: str = _choice(
        "open",
        "closed",
        form="closed:KIND,…",
        prefix="closed:",
        item=KINDS.__contains__,
        rule="13.1",
        meaning="whether the cluster may have objects that are not in the input: yes, unless podfence listed all of "
        f"their kind; no; or not of these kinds ({', '.join(KINDS)})",
    )
    pod_cidrs: str = _choice(
        "auto",
        "any",
        form="CIDR,…",
        item=_is_cidr,
        rule="13.6",
        meaning="which addresses a pod may have whose address is not known: those in the ranges of the nodes, else "
        "private ones of IPv4 and any of IPv6; any; or those in these blocks",
    )
    service_cidrs: str = _choice(
        "auto",
        form="CIDR,…",
        item=_is_cidr,
        rule="13.8",
        meaning="which addresses a Service may have whose address is not known: those in the usual ranges, or in these "
        "blocks",
    )
    legacy: str = _choice(
        "auto",
        "v1",
        "v1beta1",
        rule="10",
        meaning="extensions/v1beta1 policies and the namespace annotation: the old meaning where a namespace holds "
        "such policies, the meaning of networking.k8s.io/v1, or the old meaning everywhere",
    )
    legacy_empty_list: str = _choice(
        "all",
        "none",
        rule="10.5",
        meaning="`from: []` and `ports: []` in the old form: everything (1.5), or nothing (1.3)",
    )
    budget: str = _choice(
        "standard",
        "tenfold",
        "none",
        rule="2.8",
        meaning="how large a policy, and all policies of a namespace, may be; one that is too large admits nothing: "
        "the standard limits, ten times as much, or no limit",
    )
    validation: str = _choice(
        "answer",
        "strict",
        "lax",
        rule="9.4",
        meaning="what an API server refuses is an error: only if an answer may depend on it; always; or always, except "
        "CIDR spellings that older servers stored",
    )

    @classmethod
    def parse(cls, settings: Iterable[str]) -> Options:
        """Return options from ``name=value`` texts (dashes or underscores), later ones winning.

        Raises OptionError, naming the nearest known name or the values there are.
        """
        options = cls()
        for setting in settings:
            name, separator, value = setting.partition("=")
            if not separator:
                raise OptionError(f"--set {setting}: write OPTION=VALUE; `podfence options` lists them")
            options = options.with_value(name.strip(), value.strip())
        return options

    def with_value(self, name: str, value: str) -> Options:
        """Return a copy with one option changed; raises OptionError for unknown names and values."""
        choices = describe()
        attribute = name.replace("-", "_")
        if attribute not in choices:
            near = nearest(attribute, choices)
            hint = f"; did you mean {near.replace('_', '-')}?" if near else ""
            raise OptionError(f"unknown option {name!r}{hint} (`podfence options` lists them)")
        if not choices[attribute].accepts(value):
            raise OptionError(f"option {name}: {value!r} is not one of {', '.join(choices[attribute].written())}")
        return replace(self, **{attribute: value})


def describe() -> dict[str, Choice]:
    """Return the description of every option, by attribute name, in the order of `Options`."""
    return dict(zip(Options.__struct_fields__, _CHOICES, strict=True))
