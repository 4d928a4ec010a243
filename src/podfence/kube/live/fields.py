# SPDX-License-Identifier: Apache-2.0
"""Objects as an API server sends them: what is decoded of them, which is what the converters of `kube.convert` read.

Less than `kube.wire` has for manifests, where everything that is written is checked too. A server has
checked its objects, so most of each (managedFields, annotations, environment, conditions) is passed over without
being built. What only newer servers know is passed over too, such as the `status` of policies in 1.24 to 1.27; only
inside of a policy's `spec` a field that is not known is refused, because it may change who can connect (semantics 9.8).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal, cast

import msgspec

from podfence.kube import wire  # noqa: TC001  the annotations are read at run time
from podfence.kube.registry import KINDS, Need, needed
from podfence.kube.wire import Fields, OwnerReference, Texts

if TYPE_CHECKING:
    from collections.abc import Mapping


class Meta(Fields):
    """`metadata`."""

    name: str | None = None
    namespace: str | None = None
    labels: Texts | None = None
    owner_references: list[OwnerReference | None] | None = None
    resource_version: str | None = None
    creation_timestamp: str | None = None
    deletion_timestamp: str | None = None


class NamespaceMeta(Meta):
    """`metadata` of a Namespace; one of its annotations isolated it before 1.7 (semantics 10.1)."""

    annotations: Texts | None = None


class Name(Fields):
    """The part of `metadata` that names an object."""

    name: str | None = None
    namespace: str | None = None
    resource_version: str | None = None


class Named(Fields):
    """Any object, of which nothing but the name is read."""

    metadata: Name | None = None


class Subject(Fields):
    """The part of a policy's `spec` that says whom it isolates."""

    pod_selector: wire.PolicySelector | None = None
    policy_types: list[Literal["Ingress", "Egress"]] | None = None
    egress: Any = None


class SubjectOnly(Fields):
    """A NetworkPolicy, of which nothing but whom it isolates is read."""

    spec: Subject | None = None


class Object(Fields):
    """Any object, and what is read of the metadata of all kinds."""

    metadata: Meta | None = None


class Namespace(Object):
    """A Namespace."""

    metadata: NamespaceMeta | None = None


class Container(Fields):
    """A container or an init container."""

    ports: list[wire.ContainerPort | None] | None = None
    restart_policy: str | None = None


class PodSpec(Fields):
    """`spec` of a Pod."""

    containers: list[Container | None] | None = None
    init_containers: list[Container | None] | None = None
    host_network: bool | None = None
    node_name: str | None = None


class Pod(Object):
    """A Pod."""

    spec: PodSpec | None = None
    status: wire.PodStatus | None = None


_OWN: Final[Mapping[str, type[Object]]] = {shape.__name__: shape for shape in (Namespace, Pod)}
_HEAD: Final = frozenset(("api_version", "kind", "metadata"))


def _shape(kind: str) -> type[Object]:
    """Return what is decoded of a kind: the shape of manifests with less metadata, if it has no other here."""
    if kind in _OWN:
        return _OWN[kind]
    written: Any = KINDS[kind].written
    body = [
        (field.name, field.type, msgspec.field(default=None, name=field.encode_name))
        for field in msgspec.structs.fields(written)
        if field.name not in _HEAD
    ]
    return cast("type[Object]", msgspec.defstruct(written.__name__, body, bases=(Object,), gc=False))


WRITTEN: Final[Mapping[str, type[Object]]] = {kind: _shape(kind) for kind in needed(Need.LIVE)}
"""What is decoded of each kind that is listed."""


class ListMeta(msgspec.Struct, rename="camel", gc=False):
    """`metadata` of a list."""

    resource_version: str | None = None
    remaining_item_count: int | None = None
    continue_: str | None = msgspec.field(default=None, name="continue")


class WatchEvent(msgspec.Struct):
    """One event of a watch; an object is read when its type is known."""

    type: str
    object: msgspec.Raw
