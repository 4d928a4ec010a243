# SPDX-License-Identifier: Apache-2.0
"""Requests to the API server of a lab, for the commands that do what kubectl does where there is none."""

from __future__ import annotations

import http.client
import json
import ssl
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Self
from urllib.parse import quote, urlencode, urlsplit

from podfence.lab.errors import LabError
from podfence.lab.store.resources import RESOURCES, Resource

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from podfence.lab.access import Access

JSON: Final = "application/json"
TABLE: Final = "application/json;as=Table;v=v1;g=meta.k8s.io"
MERGE: Final = "application/merge-patch+json"
STRATEGIC: Final = "application/strategic-merge-patch+json"
_SECONDS: Final = 30


class RefusedError(LabError):
    """The server refuses a request; the text is what kubectl prints then, and `status` what the server answered."""

    def __init__(self, text: str, status: Mapping[str, Any] | None = None) -> None:
        """Take what is printed, and the Status if the server has answered with one."""
        super().__init__(text)
        self.status = status or {}


class Rest:
    """The API server of one lab; as a context, it keeps its connection for many requests in a row."""

    def __init__(self, access: Access, warn: Callable[[str], None]) -> None:
        """Connect to nothing yet; `warn` gets the warnings that come with answers."""
        self._token = access.token
        self._warn = warn
        server, tls = urlsplit(access.server), ssl.create_default_context(cadata=access.authority)
        self._line = http.client.HTTPSConnection(str(server.hostname), server.port, timeout=_SECONDS, context=tls)
        self._is_kept = False

    def __enter__(self) -> Self:
        self._is_kept = True
        return self

    def __exit__(self, *_: object) -> None:
        self._line.close()

    def send(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        accept: str = JSON,
        content: str = JSON,
        during: str = "",
    ) -> dict[str, Any]:
        """Return the answer to a request. Raises RefusedError, and LabError if there is no answer.

        A refusal says what it was `during`, if that is given.
        """
        headers = {"Authorization": f"Bearer {self._token}", "Accept": accept, "Content-Type": content}
        try:
            self._line.request(method, path, None if body is None else json.dumps(body), headers)
            answer = self._line.getresponse()
            found: dict[str, Any] = json.loads(answer.read())
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise LabError(f"the API server of the lab does not answer: {error}") from error
        finally:
            if not self._is_kept:
                self._line.close()
        for text in answer.headers.get_all("Warning") or ():
            self._warn(text.partition(' - "')[2][:-1].replace('\\"', '"').replace("\\\\", "\\"))
        if answer.status >= http.client.BAD_REQUEST:
            raise RefusedError(_refusal(found, during), found)
        return found

    def find(self, path: str) -> dict[str, Any] | None:
        """Return the object at a path, None if there is none. Raises what `send` does."""
        try:
            return self.send("GET", path)
        except RefusedError as error:
            if error.status.get("code") != http.client.NOT_FOUND:
                raise
            return None


def _refusal(status: Mapping[str, Any], during: str) -> str:
    """Return what kubectl prints of a Status; of an invalid object only what is wrong with it."""
    reason, details = status.get("reason"), status.get("details") or {}
    causes = [f"{item.get('field')}: {item.get('message')}" for item in details.get("causes") or ()]
    if reason == "Invalid" and causes:
        said = causes[0] if len(causes) == 1 else "".join(f"\n* {text}" for text in causes)
        return f'The {details.get("kind")} "{details.get("name")}" is invalid: {said}'
    return f"Error from server{f' ({reason})' if reason else ''}: {during}{status.get('message')}"


class Named(NamedTuple):
    """Objects of one kind that a command line names; no name means all of them."""

    row: Resource
    name: str = ""


def named(words: Sequence[str]) -> list[Named]:
    """Return what kubectl's words mean: ``pods``, ``pod,svc web``, ``deploy web api``, ``pod/web svc/web``, ``all``.

    Raises LabError for a kind that the lab does not serve, and for words of both forms.
    """
    if not any("/" in word for word in words):
        kinds = [row for word in words[0].split(",") for row in _rows(word)]
        return [Named(row, name) for row in kinds for name in words[1:] or ("",)]
    for word in words:
        if "/" not in word:
            raise LabError(f"{word}: write KIND/NAME for each object, or KIND and then only names")
    parts = [word.partition("/") for word in words]
    return [Named(resource(kind), name) for kind, _, name in parts]


def _rows(word: str) -> list[Resource]:
    """Return the resources of a category such as ``all``, or the one that a word means."""
    rows = [row for row in RESOURCES.values() if word in row.categories]
    return rows or [resource(word)]


def resource(word: str) -> Resource:
    """Return the resource that a word means: its plural, singular or short name, with its group or without.

    Raises LabError if the lab serves none.
    """
    for row in RESOURCES.values():
        names = {row.plural, row.singular, *row.short}
        if not row.stored_as and word.lower() in names | {f"{name}.{row.group}" for name in names if row.group}:
            return row
    known = ", ".join(row.short[0] if row.short else row.singular for row in RESOURCES.values() if not row.stored_as)
    raise LabError(f'the server doesn\'t have a resource type "{word}" (known are {known})')


def path(row: Resource, namespace: str, name: str = "", query: Mapping[str, str] | None = None) -> str:
    """Return the path of the objects of a namespace ("" for all), or of one object."""
    found = f"/apis/{row.api_version}" if row.group else f"/api/{row.version}"
    if row.namespaced and namespace:
        found += f"/namespaces/{quote(namespace)}"
    found += f"/{row.plural}"
    if name:
        found += f"/{quote(name, safe='')}"
    return f"{found}?{urlencode(query)}" if query else found


def printed(row: Resource, name: str) -> str:
    """Return how kubectl names an object in its messages: ``deployment.apps/web``."""
    return f"{row.singular}{f'.{row.group}' if row.group else ''}/{name}"
