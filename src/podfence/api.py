# SPDX-License-Identifier: Apache-2.0
"""The Python interface: load a cluster, ask it, change it. The commands call nothing else."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from podfence.analysis.check import check
from podfence.analysis.connectivity import ListQuestion, connectivity, matrix, pod_connections
from podfence.analysis.endpoints import parse_endpoint, require_namespace
from podfence.analysis.notes import notes
from podfence.analysis.ports import parse_port
from podfence.cluster.state import ClusterState
from podfence.policy.engine import Engine
from podfence.policy.model import Model
from podfence.policy.options import Options

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
    from typing import BinaryIO

    from podfence.analysis.answers import Connectivity, Matrix, PodConnection
    from podfence.cluster.state import Event
    from podfence.kube.objects import KubeObject
    from podfence.kube.problems import Problem
    from podfence.policy.model import Change
    from podfence.policy.verdict import Verdict


class Cluster:
    """A cluster state with its policies, ready to be asked.

    `warnings` are problems of the input that did not refuse it, `notes` what was made up or left out,
    `ignored` counts objects of kinds that do not matter, by kind.
    """

    def __init__(
        self,
        state: ClusterState,
        options: Options,
        warnings: tuple[Problem, ...] = (),
        ignored: Mapping[str, int] | None = None,
    ) -> None:
        """Ask the state with the options; `load` and `from_objects` make the state."""
        self.state = state
        self.options = options
        self.warnings = warnings
        self.ignored = dict(ignored or {})
        self._engine = Engine(state, options)
        self._model: Model | None = None

    @property
    def model(self) -> Model:
        """The engine with its index of classes; built when the whole cluster is first asked about."""
        if self._model is None:
            self._model = Model(self._engine)
        return self._model

    @property
    def notes(self) -> tuple[str, ...]:
        """What was made up or left out, and what the old form of policies means here, one sentence each."""
        return notes(self.state, self.options, self.ignored)

    @classmethod
    def from_objects(cls, objects: Iterable[KubeObject], options: Options | None = None) -> Cluster:
        """Return a cluster of objects built in memory."""
        return cls(ClusterState(objects), options or Options())

    def check(
        self, source: str, destination: str, port: int | str | None = None, *, namespace: str = "default"
    ) -> Verdict:
        """Return whether a connection is allowed, and why.

        Endpoints and ports as `podfence.analysis.endpoints` and `.ports` describe them; bare names are
        looked up in `namespace`. Raises EndpointError for what cannot be read or does not exist.
        """
        return check(
            self._engine,
            parse_endpoint(self.state, source, namespace),
            parse_endpoint(self.state, destination, namespace),
            parse_port(port),
        )

    explain = check

    def connectivity(
        self,
        *,
        source: str | None = None,
        destination: str | None = None,
        port: int | str | None = None,
        namespaces: Collection[str] | None = None,
        namespace: str = "default",
        progress: Callable[[float, int], None] | None = None,
    ) -> Connectivity:
        """Return who can reach whom, as sets.

        `source`, `destination` and `port` limit the answer to one end or port; `namespaces` to connections
        with an end in one of them. `progress` is told what is done and how much there is to do. Raises
        EndpointError as `check` does.
        """
        return connectivity(self.model, self._question(source, destination, port, namespaces, namespace), progress)

    def pod_connections(
        self,
        *,
        source: str | None = None,
        destination: str | None = None,
        port: int | str | None = None,
        namespaces: Collection[str] | None = None,
        namespace: str = "default",
    ) -> Iterator[PodConnection]:
        """Yield the same answer pod by pod; the arguments are those of `connectivity`."""
        return pod_connections(self.model, self._question(source, destination, port, namespaces, namespace))

    def matrix(self, *, port: int | str | None = None, namespaces: Collection[str] | None = None) -> Matrix:
        """Return the grid of all workloads (of some namespaces) for one port, or for every port."""
        return matrix(self.model, self._question(None, None, port, namespaces, "default"))

    def apply(self, event: Event) -> Change:
        """Take one event in and say what it changed; all later answers are those of a fresh load."""
        return self.model.apply(event)

    def _question(
        self,
        source: str | None,
        destination: str | None,
        port: int | str | None,
        namespaces: Collection[str] | None,
        namespace: str,
    ) -> ListQuestion:
        for name in namespaces or ():
            require_namespace(self.state, name)
        return ListQuestion(
            parse_endpoint(self.state, source, namespace) if source is not None else None,
            parse_endpoint(self.state, destination, namespace) if destination is not None else None,
            parse_port(port),
            namespaces,
        )


def load(
    *paths: str | os.PathLike[str],
    recursive: bool = False,
    kustomize: str | None = None,
    stdin: BinaryIO | None = None,
    options: Options | None = None,
    progress: Callable[[float, int], None] | None = None,
) -> Cluster:
    """Return the cluster that manifests describe.

    `paths` are files, folders (with `recursive` for their subfolders) or ``-`` for `stdin`; `kustomize`
    is a folder to render. Raises InputError with every problem if anything was refused.
    """
    from podfence.kube.load import load as load_objects

    options = options or Options()
    loaded = load_objects(
        [os.fspath(path) for path in paths],
        recursive=recursive,
        stdin=stdin,
        kustomize=kustomize,
        lax=options.validation == "lax",
        legacy=options.legacy,
        progress=progress,
    )
    return Cluster(ClusterState(loaded.objects), options, loaded.warnings, loaded.ignored)
