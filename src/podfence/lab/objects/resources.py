# SPDX-License-Identifier: Apache-2.0
"""Objects and what happened to them in kubectl's words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal, NamedTuple

import msgspec

from podfence.errors import PodfenceError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from podfence.kube.objects import Key

Verb = Literal["created", "configured", "unchanged", "deleted", "labeled", "unlabeled", "not labeled", "ignored", ""]


class UnknownResourceError(PodfenceError):
    """A word names no kind of object the lab knows."""


class Resource(NamedTuple):
    """A kind in the words of kubectl: as printed (``deployment.apps``), plural and short names."""

    kind: str
    singular: str
    plural: str
    short: tuple[str, ...] = ()
    group: str = ""
    namespaced: bool = True

    def printed(self, *, plural: bool = False) -> str:
        """Return the name with its group."""
        name = self.plural if plural else self.singular
        return f"{name}.{self.group}" if self.group else name


RESOURCES: Final = {
    resource.kind: resource
    for resource in (
        Resource("Namespace", "namespace", "namespaces", ("ns",), namespaced=False),
        Resource("Pod", "pod", "pods", ("po",)),
        Resource("Deployment", "deployment", "deployments", ("deploy",), "apps"),
        Resource("StatefulSet", "statefulset", "statefulsets", ("sts",), "apps"),
        Resource("DaemonSet", "daemonset", "daemonsets", ("ds",), "apps"),
        Resource("ReplicaSet", "replicaset", "replicasets", ("rs",), "apps"),
        Resource("ReplicationController", "replicationcontroller", "replicationcontrollers", ("rc",)),
        Resource("Job", "job", "jobs", (), "batch"),
        Resource("CronJob", "cronjob", "cronjobs", ("cj",), "batch"),
        Resource("Service", "service", "services", ("svc",)),
        Resource("EndpointSlice", "endpointslice", "endpointslices", (), "discovery.k8s.io"),
        Resource("Node", "node", "nodes", ("no",), namespaced=False),
        Resource("Ingress", "ingress", "ingresses", ("ing",), "networking.k8s.io"),
        Resource("NetworkPolicy", "networkpolicy", "networkpolicies", ("netpol",), "networking.k8s.io"),
    )
}
"""Every kind the lab knows, by its name."""

_BY_WORD: Final = {
    word: resource
    for resource in RESOURCES.values()
    for name in (resource.singular, resource.plural, *resource.short)
    for word in (name, f"{name}.{resource.group}")
}


def resource_of(word: str) -> Resource:
    """Return the kind that kubectl knows by a word: singular, plural or short, with or without its group.

    Raises UnknownResourceError.
    """
    found = _BY_WORD.get(word.lower())
    if found is None:
        known = ", ".join(resource.short[0] if resource.short else resource.singular for resource in RESOURCES.values())
        message = f'the server doesn\'t have a resource type "{word}" (known are {known})'
        raise UnknownResourceError(message)
    return found


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one object.

    `resource` and `name` are as kubectl prints them; `error` is a complete text for a person if it was
    refused, `warnings` and `notes` say what else to know.
    """

    resource: str = ""
    name: str = ""
    verb: Verb = ""
    error: str = ""
    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def remarks(self) -> tuple[str, ...]:
        """Warnings and notes as complete sentences: a note with the name of its object."""
        named = f"{self.resource}/{self.name}" if self.name else self.resource
        return (*self.warnings, *(f"{named}: {note}" for note in self.notes))

    def __str__(self) -> str:
        """Return the line kubectl would print."""
        if self.error:
            return self.error
        if self.verb == "deleted":
            return f'{self.resource} "{self.name}" deleted'
        return f"{self.resource}/{self.name} {self.verb}" if self.name else f"{self.resource} {self.verb}"


def outcome(key: Key, verb: Verb, notes: Iterable[str] = ()) -> Outcome:
    """Return what became of a named object."""
    return Outcome(resource=RESOURCES[key.kind].printed(), name=key.name, verb=verb, notes=tuple(notes))


def not_found(key: Key, file: str = "") -> Outcome:
    """Return the error for an object that does not exist; `file` is where it was read to be deleted."""
    resource = RESOURCES[key.kind]
    during = f'error when deleting "{file}": ' if file else ""
    what = f'{resource.printed(plural=True)} "{key.name}" not found'
    return Outcome(resource=resource.printed(), name=key.name, error=f"Error from server (NotFound): {during}{what}")


def refused(key: Key, error: str) -> Outcome:
    """Return the error for an object that is not taken."""
    return Outcome(resource=RESOURCES[key.kind].printed(), name=key.name, error=error)
