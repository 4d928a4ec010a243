# SPDX-License-Identifier: Apache-2.0
"""The same sequence of requests to two servers, and whether they answer the same.

Uids, revisions, addresses, node ports and made-up names are other ones on each server. Each is replaced by how many of
its sort came before it, so that the same one at two places must be the same on both. Times are left out.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from urllib.parse import urlencode

from tests.kubernetes.apiserver import drawing
from tests.kubernetes.apiserver.drawing import KINDS, NAMES, Kind, Raw

if TYPE_CHECKING:
    from tests.lab.apiserver.serving import Client

STEPS: Final = 14
_CLIENTS: Final = 2
_SELECTORS: Final = ("app=x", "app!=x", "app in (x,y)", "tier", "!tier", "app=x,tier=y", "app=", "app notin (x)", "a b")
_UUID: Final = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_REVISION: Final = re.compile(r"(?<=\()\d+(?=\))")
_ADDRESS: Final = re.compile(r"10\.96\.\d+\.\d+")
_NODE_PORT: Final = re.compile(r"\b3[0-2]\d{3}\b")
# Which of its keys are in order depends on what a patch touched, and a lab's have no managedFields.
_PATCHED: Final = re.compile(r'(?<=Invalid value: )"\{\\"(.|\n)*\}"(?=: )')
_QUOTED: Final = re.compile(r"(?<=of type string) \(.*", re.DOTALL)
# Only tried, an address is refused in other words.
_RANGE: Final = re.compile(r"the provided IP \(.*\) is not in the valid range. The range of valid IPs is [\w./-]+")
_TIMES: Final = frozenset(("creationTimestamp", "deletionTimestamp", "lastTransitionTime"))
_PATCHES: Final = {
    "merge": "application/merge-patch+json",
    "strategic": "application/strategic-merge-patch+json",
    "json": "application/json-patch+json",
}


class Step(NamedTuple):
    """A request: its body is made of what its client saw last of the object, which differs between servers."""

    client: int
    method: str
    path: str
    seen: tuple[str, str]
    body: Callable[[Raw | None], Any]
    type: str = "application/json"

    def __str__(self) -> str:
        return f"client {self.client}: {self.method} {self.path} ({self.type})"


class Side:
    """One of the two servers, what its clients saw of it last, and the names for what only it has."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.seen: dict[tuple[int, str, str], Raw] = {}
        self._names: dict[tuple[str, str], str] = {}
        self._tried = False

    def send(self, step: Step) -> tuple[int, Any, Any]:
        """Send a request; return the code, the body as it is on every server, and what was sent."""
        sent = step.body(self.seen.get((step.client, *step.seen)))
        reply = self.client.send(
            step.method, step.path, sent, headers={"Content-Type": step.type} if sent is not None else {}
        )
        body = reply.body
        # An address that is only tried is nobody's, and may be given again.
        self._tried = "dryRun" in step.path
        if isinstance(body, dict) and reply.code < 300 and body.get("kind") not in ("Status", "Scale"):
            for obj in body.get("items", [body]):
                obj.get("metadata", {}).pop("managedFields", None)
                self.seen[step.client, step.seen[0], obj.get("metadata", {}).get("name", "")] = obj
        found = {"body": self.canonical(body), "warnings": reply.warnings}
        return reply.code, found, sent

    def events(self, kind: Kind, path: str, seed: int) -> list[Any]:
        """Return the events of a watch about the objects of a sequence.

        One that begins with the objects that are there has them by name. The other ends with an object made for that.
        """
        last = f"end-{seed}-{kind.plural}"
        begins = "sendInitialEvents" in path
        space = self.client.send("GET", f"/api/v1/namespaces/{namespace_of(seed)}/serviceaccounts/default").body
        path = path.replace("START", space["metadata"]["resourceVersion"])
        if not begins:
            labels = {"app": "x", "tier": "y"}
            drawn = (kind.draw(random.Random(number)) for number in range(100))
            bodies = ({**body, "metadata": {"name": last, "labels": labels}} for body in drawn)
            next(body for body in bodies if self.client.send("POST", kind.url(ENDS), body).code == 201)
        found: list[Any] = []
        with self.client.watch(path) as events:
            for event in events:
                obj = event["object"]
                name = obj["metadata"].get("name", "")
                if event["type"] == "BOOKMARK" or name == last:
                    break
                if namespace_of(seed) in (obj["metadata"].get("namespace"), name, name[:-2]):
                    found.append({"type": event["type"], "object": obj})
        self._tried = False
        if not begins:
            self.client.send("DELETE", kind.url(ENDS, last))
        found.sort(key=lambda event: event["object"]["metadata"]["name"] if begins else "")
        return [self.canonical(event) for event in found]

    def canonical(self, value: Any, key: str = "") -> Any:  # noqa: ANN401 - any JSON value
        """Return a value without what differs from server to server."""
        match value:
            case dict():
                if value.get("kind", "").endswith("List") and "items" in value:
                    value = {**value, "metadata": {}}
                return {
                    name: self.canonical(item, name)
                    for name, item in sorted(value.items())
                    if name not in ("managedFields", *_TIMES) or item is None
                } | {name: "TIME" for name in _TIMES if value.get(name)}
            case list():
                return [self.canonical(item, key) for item in value]
            case str():
                if key == "resourceVersion":
                    return self._name("revision", value)
                value = _UUID.sub(lambda found: self._name("uid", found[0]), value)
                if key != "message" and not self._tried:
                    value = _ADDRESS.sub(lambda found: self._name("address", found[0]), value)
                else:
                    value = _ADDRESS.sub("ADDRESS", value)
                    value = _PATCHED.sub("OBJECT", _QUOTED.sub("", value.partition("\n@@")[0].rstrip("]")))
                    value = value.replace("Key: /registry/", "Key: /")
                    value = _RANGE.sub("the provided network does not match the current range", value)
                    value = _REVISION.sub(lambda found: self._name("revision", found[0]), value)
                return value
            case int() if key in ("nodePort", "healthCheckNodePort"):
                return "PORT" if self._tried else self._name("port", str(value))
        return value

    def _name(self, sort: str, text: str) -> str:
        if not text:
            return text
        count = sum(1 for known, _ in self._names if known == sort)
        return self._names.setdefault((sort, text), f"{sort}-{count}")


class Difference(NamedTuple):
    """Where two servers differ: the sequence, the request, what was sent, and the places that differ."""

    seed: int
    step: str
    sent: str
    places: list[str]

    def __str__(self) -> str:
        return f"seed {self.seed}: {self.step}\n  sent {self.sent[:1500]}\n  " + "\n  ".join(self.places[:12])


class Outcome(NamedTuple):
    """What became of a sequence: how many requests were sent, what differed, and what the lab let pass."""

    requests: int
    difference: Difference | None = None
    passed: str = ""


def compare(seed: int, real: Client, lab: Client) -> Outcome:
    """Send one sequence to both servers, until they differ or the lab lets pass what Kubernetes refuses.

    A lab checks less than Kubernetes does. So it may refuse an object for fewer reasons, warn of less, and take an
    object that Kubernetes refuses as invalid; then the two have different objects, and the sequence is over.
    """
    rng = random.Random(seed)
    sides = (Side(real), Side(lab))
    steps = [*_beginning(seed, rng), *(_step(seed, rng) for _ in range(STEPS))]
    for count, step in enumerate(steps, 1):
        (code, body, sent), (other, found, _) = (side.send(step) for side in sides)
        if (code, other) == (500, 400):
            # A wrong request is no fault of the server, and its answer names the code.
            body["body"].pop("code"), found["body"].pop("code")
        elif code == 422 and other < 300:
            return Outcome(count, passed=body["body"]["message"])
        elif (other, step.method) == (404, "PUT") and code in (201, 403, 422) and "/status" in step.path:
            # Kubernetes makes a Service without an address then.
            return Outcome(count, passed="a status of what is not there")
        elif (code, other) == (200, 422) and "for ExternalName services" in found["body"]["message"]:
            return Outcome(count, passed="an address that is none of a cluster, once a Service is there")
        elif code != other:
            places = [f"code {code} != {other}", str(body), str(found)]
            return Outcome(count, Difference(seed, str(step), json.dumps(sent), places))
        if code == 422:
            _drop_reasons(body["body"], found["body"])
        body["warnings"] = [text for text in body["warnings"] if text in found["warnings"]]
        if places := list(differences(body, found)):
            return Outcome(count, Difference(seed, str(step), json.dumps(sent), places))
    for kind in rng.sample(KINDS, 2):
        for path in _watches(rng, kind):
            theirs, own = (side.events(kind, path, seed) for side in sides)
            if places := list(differences(theirs, own)):
                return Outcome(len(steps), Difference(seed, f"the events of {path}", "", places))
    return Outcome(len(steps))


def _watches(rng: random.Random, kind: Kind) -> list[str]:
    """Return what to watch: the whole sequence as it was, through a selector or not, and what there is at its end."""
    selector = rng.choice(("", "app=x", "tier", "app in (x,y)", "app!=z"))
    query = {"watch": "1", "labelSelector": selector}
    first = {"sendInitialEvents": "true", "resourceVersionMatch": "NotOlderThan", "allowWatchBookmarks": "true"}
    whole = kind.url("")
    return [f"{whole}?{urlencode(query)}&resourceVersion=START", f"{whole}?{urlencode({**query, **first})}"]


def _drop_reasons(real: Raw, lab: Raw) -> None:
    """Leave out why an object is invalid if both servers have one thing in common against it."""
    more, fewer = (body.get("details", {}).get("causes", []) for body in (real, lab))
    nameless = any("IPAddress.networking.k8s.io" in cause["message"] for cause in more)
    if nameless or any(cause in more for cause in fewer):
        for body in (real, lab):
            del body["message"], body["details"]


def differences(real: Any, lab: Any, at: str = "") -> Any:  # noqa: ANN401 - any JSON value
    """Yield where two values differ."""
    if isinstance(real, dict) and isinstance(lab, dict):
        for key in sorted(real.keys() | lab.keys()):
            if key not in real or key not in lab:
                yield f"{at}.{key}: {real.get(key, 'absent')!r} != {lab.get(key, 'absent')!r}"
            else:
                yield from differences(real[key], lab[key], f"{at}.{key}")
    elif isinstance(real, list) and isinstance(lab, list) and len(real) == len(lab):
        for index, (one, other) in enumerate(zip(real, lab, strict=True)):
            yield from differences(one, other, f"{at}[{index}]")
    elif real != lab or type(real) is not type(lab):
        yield f"{at}: {real!r} != {lab!r}"


def namespace_of(seed: int) -> str:
    return f"s{seed}"


ENDS: Final = "ends"
"""The namespace of the objects with which watches end."""


def prepare(client: Client) -> None:
    """Make what all sequences need."""
    for step in _space(ENDS, "x"):
        assert client.send(step.method, step.path, step.body(None)).code == 201


def _beginning(seed: int, rng: random.Random) -> list[Step]:
    return _space(namespace_of(seed), rng.choice(("x", "y")))


def _space(name: str, label: str) -> list[Step]:
    """Return what makes a namespace in which pods can be made."""
    space = {"metadata": {"name": name, "labels": {"app": label}}}
    # A controller makes the account of a cluster; without its token pods have no volumes that only a server makes up.
    account = {"metadata": {"name": "default"}, "automountServiceAccountToken": False}
    accounts = f"/api/v1/namespaces/{name}/serviceaccounts"
    return [
        Step(0, "POST", "/api/v1/namespaces", ("Namespace", ""), lambda _: space),
        Step(0, "POST", accounts, ("ServiceAccount", ""), lambda _: account),
    ]


def _step(seed: int, rng: random.Random) -> Step:
    """Draw a request. Namespaces are those of the sequence itself; one in ten requests for the other kinds goes astray."""
    kind = rng.choice((KINDS[0], *KINDS[1:] * 3))
    own = namespace_of(seed)
    name = own if not kind.namespaced else rng.choice(NAMES)
    if kind.name == "Namespace" and rng.random() < 0.5:
        name = f"{own}-{rng.choice(NAMES)}"
    client = rng.randrange(_CLIENTS)
    seen = (kind.name, name)
    state = rng.getrandbits(64)

    def again() -> random.Random:
        # Both servers are sent the same, whatever else was drawn in between.
        return random.Random(state)

    url = kind.url(own, name)
    match rng.randrange(14):
        case 0 | 1 | 2 | 3:
            return Step(client, "POST", kind.url(own) + _write(rng), seen, lambda _: drawing.drawn(again(), kind, name))
        case 4 | 5:
            return Step(client, "GET", url, seen, _nothing)
        case 6:
            return Step(client, "GET", kind.url(own) + _list(rng, kind, own), (kind.name, ""), _nothing)
        case 7 | 8 | 9:
            often = kind.has_status and (kind.name != "Service" or rng.random() < 0.1)
            sub = rng.choice(("", "", "", "status" if often else ""))
            return Step(client, "PUT", kind.url(own, name, sub) + _write(rng), seen, _edited(again, kind, name, sub))
        case 10 | 11:
            how = rng.choice(("merge", "strategic", "json"))
            draw = drawing.json_patch if how == "json" else drawing.merge_patch
            sub = "scale" if kind.has_scale and rng.random() < 0.2 else ""
            body = {"spec": {"replicas": rng.choice((0, 2, -1, "x"))}}
            patch = (lambda _: body) if sub and how != "json" else (lambda _: draw(again(), kind))
            return Step(client, "PATCH", kind.url(own, name, sub) + _write(rng), seen, patch, _PATCHES[how])
        case 12 if kind.namespaced and rng.random() < 0.3:
            return Step(client, "DELETE", kind.url(own) + _selected(rng), (kind.name, ""), _nothing)
        case 13 if kind.has_scale:
            return Step(client, "GET", kind.url(own, name, "scale"), seen, _nothing)
    return Step(client, "DELETE", url, seen, _delete_options(again))


def _nothing(_seen: Raw | None) -> None:
    return None


def _write(rng: random.Random) -> str:
    query = {}
    if rng.random() < 0.08:
        query["dryRun"] = "All"
    if rng.random() < 0.3:
        query["fieldValidation"] = rng.choice(("Strict", "Warn", "Ignore"))
    return f"?{urlencode(query)}" if query else ""


def _selected(rng: random.Random) -> str:
    return "?" + urlencode({"labelSelector": rng.choice(_SELECTORS)})


def _list(rng: random.Random, kind: Kind, own: str) -> str:
    query = {}
    if not kind.namespaced:
        names = ",".join((own, *(f"{own}-{name}" for name in NAMES)))
        query["labelSelector"] = f"kubernetes.io/metadata.name in ({names}),{rng.choice(_SELECTORS)}"
    elif rng.random() < 0.5:
        query["labelSelector"] = rng.choice(_SELECTORS)
    if rng.random() < 0.3:
        query["fieldSelector"] = rng.choice(("metadata.name=a", "metadata.name!=a"))
    if rng.random() < 0.3:
        query["limit"] = rng.choice(("1", "500"))
    return f"?{urlencode(query)}"


def _edited(again: Callable[[], random.Random], kind: Kind, name: str, sub: str) -> Callable[[Raw | None], Any]:
    def body(seen: Raw | None) -> Any:  # noqa: ANN401 - any JSON value
        rng = again()
        if seen is None:
            return drawing.drawn(rng, kind, name)
        found: Any = drawing.changed(rng, kind, seen)
        if not isinstance(found, dict):
            return found
        if sub:
            found = {**found, "status": drawing.spoilt(rng, seen.get("status") or {"replicas": 1})}
        if rng.random() < 0.3 and isinstance(found.get("metadata"), dict):
            found = {
                **found,
                "metadata": {key: item for key, item in found["metadata"].items() if key != "resourceVersion"},
            }
        return found

    return body


def _delete_options(again: Callable[[], random.Random]) -> Callable[[Raw | None], Raw | None]:
    def body(seen: Raw | None) -> Raw | None:
        rng = again()
        found: Raw = {}
        if rng.random() < 0.2:
            found["propagationPolicy"] = rng.choice(("Foreground", "Background", "Orphan", "x"))
        if rng.random() < 0.2:
            found["gracePeriodSeconds"] = rng.choice((0, 5, 60))
        if rng.random() < 0.2 and seen is not None:
            key = rng.choice(("uid", "resourceVersion"))
            found["preconditions"] = {key: seen["metadata"].get(key, "")}
        if rng.random() < 0.05:
            found["dryRun"] = ["All"]
        return found or None

    return body
