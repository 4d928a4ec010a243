# SPDX-License-Identifier: Apache-2.0
"""The Python interface: load a cluster, ask it, change it. The commands call nothing else."""

from __future__ import annotations

import os
from functools import partial
from typing import TYPE_CHECKING, TypedDict, Unpack, cast

from podfence.analysis.check import check
from podfence.analysis.endpoints import namespaces_of
from podfence.analysis.notes import assumed_of_others, notes
from podfence.analysis.parsing import parse_endpoint, require_namespace
from podfence.analysis.ports import parse_port
from podfence.analysis.spelling import taken_apart
from podfence.cluster.state import ClusterState
from podfence.policy.engine import Engine
from podfence.policy.options import KINDS, Options
from podfence.policy.world import World

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
    from typing import BinaryIO

    from podfence.analysis.answers import Connectivity, Matrix, PodConnection
    from podfence.analysis.asked import ListQuestion
    from podfence.analysis.diff.answer import Difference
    from podfence.analysis.mending import Mended
    from podfence.analysis.overview import Overview
    from podfence.cluster.classes import ClassIndex
    from podfence.cluster.state import Event
    from podfence.kube.decode import Validation
    from podfence.kube.findings import Finding
    from podfence.kube.folders import Exclusion
    from podfence.kube.load import Loaded
    from podfence.kube.objects import KubeObject
    from podfence.kube.omissions import Gap
    from podfence.kube.parsed import Parsed
    from podfence.kube.rendering import Chart
    from podfence.policy.model import Change, Model
    from podfence.policy.verdict import Verdict


class Limits(TypedDict, total=False):
    """What limits an answer about the whole cluster.

    `source`, `destination` and `port` limit it to one end or port; `namespaces` to connections with an end in one of
    them. Bare names are looked up in `namespace`, the cluster's own if None. `absent`, True if it is not given, asks
    also for what rules admit with peers of which none is here.
    """

    source: str | None
    destination: str | None
    port: int | str | None
    namespaces: Collection[str] | None
    namespace: str | None
    absent: bool


class Cluster:
    """A cluster state with its policies, ready to be asked.

    `warnings` are problems of the input that did not refuse it, `notes` what was made up or left out, `details` the
    names of all that was left out, `ignored` counts objects of kinds that do not matter, by kind. `gaps` are where a
    policy may lie that was not read: without any, answers are complete. Bare names in questions are looked up in
    `namespace` where the question names none: for a live cluster that of the context, else ``default``. `engine` is
    what judges connections.
    """

    def __init__(
        self,
        state: ClusterState,
        options: Options,
        read: Loaded | None = None,
        namespace: str = "default",
        closed: Collection[str] = (),
    ) -> None:
        """Ask the state with the options; `load`, `load_live` and `from_objects` make the state.

        Of the kinds `closed` everything was read that there is (semantics 13.1).
        """
        self.warnings: tuple[Finding, ...] = read.warnings if read else ()
        self.ignored: Mapping[str, int] = read.ignored if read else {}
        self.gaps: tuple[Gap, ...] = read.gaps if read else ()
        self.details: tuple[str, ...] = read.details if read else ()
        self._read_notes: tuple[str, ...] = read.notes if read else ()
        self.state = state
        self.options = options
        self.namespace = namespace
        self._opened = frozenset(KINDS) - frozenset(closed)
        self.engine = Engine(state, options, self._world())
        self._model: Model | None = None
        self._notes: tuple[str, ...] | None = None

    def name_gaps(self, name: Callable[[str], str]) -> None:
        """Give gaps other texts, so that those of two clusters that are compared are the same where they are."""
        self.gaps = tuple(gap._replace(what=name(gap.what), remedy=name(gap.remedy)) for gap in self.gaps)
        self.engine.world = self._world()

    def _world(self) -> World:
        return World(self.state, self.options, self._opened, self.gaps)

    @property
    def assumes(self) -> tuple[str, ...]:
        """What a firm answer takes for granted of what was not read, one sentence each (semantics 13.2)."""
        return (*self.engine.world.assumes(), *assumed_of_others(self.ignored))

    @property
    def model(self) -> Model:
        """The engine with its index of classes; built when the whole cluster is first asked about."""
        if self._model is None:
            from podfence.policy.model import Model

            self._model = Model(self.engine)
        return self._model

    @property
    def index(self) -> ClassIndex | None:
        """The index of classes, if the whole cluster has been asked about."""
        return self._model.index if self._model is not None else None

    @property
    def notes(self) -> tuple[str, ...]:
        """What was made up or left out, and which policies and rules do nothing, one sentence a kind."""
        if self._notes is None:
            self._notes = (*self._read_notes, *notes(self.engine, self.ignored))
        return self._notes

    @classmethod
    def from_objects(cls, objects: Iterable[KubeObject], options: Options | None = None) -> Cluster:
        """Return a cluster of objects built in memory."""
        return cls(ClusterState(objects), options or Options())

    def check(
        self, source: str, destination: str, port: int | str | None = None, *, namespace: str | None = None
    ) -> Verdict:
        """Return whether a connection is allowed, and why.

        Endpoints and ports as `podfence.analysis.parsing` and `.ports` describe them; bare names are
        looked up in `namespace`, the cluster's own if None. Raises EndpointError for what cannot be read or
        does not exist.
        """
        return self._check(source, destination, port, namespace, mend=False)

    def explain(
        self, source: str, destination: str, port: int | str | None = None, *, namespace: str | None = None
    ) -> Verdict:
        """Return what `check` does, with changes that would admit what is denied, which take longer to find."""
        return self._check(source, destination, port, namespace, mend=True)

    def _check(
        self, source: str, destination: str, port: int | str | None, namespace: str | None, *, mend: bool
    ) -> Verdict:
        own = namespace or self.namespace
        start, end, port = taken_apart(source, destination, port)
        one, other = (parse_endpoint(self.state, text, own) for text in (start, end))
        return check(self.engine, one, other, parse_port(port), mend=mend)

    def mended(self, verdict: Verdict) -> tuple[Mended, ...]:
        """Return the policies as the narrowest changes would make them that a verdict of `explain` proposes."""
        from podfence.analysis.mending import mended

        return mended(self.state, verdict)

    def gaps_between(self, source: str, destination: str, *, namespace: str | None = None) -> tuple[Gap, ...]:
        """Return the gaps in the namespaces of two ends: what `check` says of these is incomplete if there are any.

        Raises EndpointError as `check` does.
        """
        own = namespace or self.namespace
        texts = taken_apart(source, destination, None)[:2]
        ends = [parse_endpoint(self.state, text, own) for text in texts] if self.gaps else []
        touched = {name for end in ends for name in namespaces_of(end)}
        return tuple(gap for gap in self.gaps if gap.touches(touched))

    def connectivity(
        self, *, progress: Callable[[float, int], None] | None = None, **limits: Unpack[Limits]
    ) -> Connectivity:
        """Return who can reach whom, as sets.

        `progress` is told what is done and how much there is to do. Raises EndpointError as `check` does.
        """
        from podfence.analysis.connectivity import connectivity

        return connectivity(self.model, self._question(**limits), progress, self.notes)

    def overview(self, *, progress: Callable[[float, int], None] | None = None, **limits: Unpack[Limits]) -> Overview:
        """Return the connections of `connectivity` in the fewest and shortest lines, for people; they may overlap."""
        from podfence.analysis.overview import overview

        return overview(self.model, self._question(**limits), progress)

    def pod_connections(self, **limits: Unpack[Limits]) -> Iterator[PodConnection]:
        """Return the same answer pod by pod, as it is now.

        The connections are written out as they are drawn, so that there may be millions of them.
        """
        from podfence.analysis.connectivity import pod_connections

        return pod_connections(self.model, self._question(**limits))

    def matrix(self, *, port: int | str | None = None, namespaces: Collection[str] | None = None) -> Matrix:
        """Return the grid of all workloads (of some namespaces) for one port, or for every port."""
        from podfence.analysis.connectivity import matrix

        return matrix(self.model, self._question(port=port, namespaces=namespaces, absent=False))

    def with_applied(self, other: Cluster, *, prune: bool = False) -> Cluster:
        """Return this cluster as it would be if the objects of another one were applied to it with ``kubectl apply``.

        Objects replace those of their name. Namespaces keep the labels that they have besides. With `prune` objects are
        deleted that the other cluster does not have: of the kinds that it has, in the namespaces that it has objects
        in, if nothing owns them. This cluster stays as it is.
        """
        from podfence.cluster.applied import applied, objects_of
        from podfence.kube.load import Loaded

        state = applied(self.state, list(objects_of(other.state)), prune=prune)
        # The addresses of pods that do not run yet are not known, also if this cluster knows all of its own.
        starting = any(member.pod is None and key not in self.state.members for key, member in state.members.items())
        closed = frozenset(KINDS) - self._opened - ({"Pod"} if starting else set())
        gaps = tuple(dict.fromkeys((*self.gaps, *other.gaps)))
        read = Loaded((), other.warnings, dict(other.ignored), gaps=gaps)
        return Cluster(state, self.options, read, self.namespace, closed)

    def apply(self, event: Event, *more: Event) -> Change:
        """Take events in and say what they changed together; all later answers are those of a fresh load.

        Several threads may ask a cluster at once, but not while it takes an event in.
        """
        self._notes = None
        change = self.model.apply(event, *more)
        self.engine.world = self._world()
        return change

    def _question(
        self,
        source: str | None = None,
        destination: str | None = None,
        port: int | str | None = None,
        namespaces: Collection[str] | None = None,
        namespace: str | None = None,
        *,
        absent: bool = True,
    ) -> ListQuestion:
        from podfence.analysis.asked import ListQuestion

        own = namespace or self.namespace
        if destination is not None:
            _, destination, port = taken_apart("", destination, port)
        for name in namespaces or ():
            require_namespace(self.state, name)
        return ListQuestion(
            parse_endpoint(self.state, source, own) if source is not None else None,
            parse_endpoint(self.state, destination, own) if destination is not None else None,
            parse_port(port),
            namespaces,
            absent,
        )


def load(
    *paths: str | os.PathLike[str],
    recursive: bool = False,
    kustomize: str | Sequence[str] = (),
    charts: Sequence[Chart] = (),
    exclude: Sequence[str | Exclusion] = (),
    keep_going: bool = False,
    namespace: str = "",
    stdin: BinaryIO | None = None,
    base: str = "",
    parsed: Parsed | None = None,
    options: Options | None = None,
    progress: Callable[[float, int], None] | None = None,
) -> Cluster:
    """Return the cluster that manifests describe.

    `paths` are files, folders (with `recursive` for their subfolders) or ``-`` for `stdin`; `kustomize` are folders
    and `charts` charts to render. Each may be ``git:REV:PATH``, a path in a commit of the repository of the working
    directory, or ``git:REV``, this directory there. ``git:merge-base`` is where HEAD has left the branch `base`, the
    usual one if that is "". What folders hold besides manifests is left out, as `Cluster.notes` say; `exclude`
    are patterns, as gitignore reads them in each folder, of what else to leave out, and `keep_going` leaves out what
    is refused. Objects that name no namespace are in `namespace`, where bare names are looked up too; "" is
    ``default``. Of two inputs that are read with the same `parsed`, what is equal is parsed once.

    Raises InputError with every problem if anything was refused, and MissingProgramError for a program that is needed
    to render and is not there, and GitError for a revision that cannot be read.
    """
    from podfence.kube.collection import uncollected
    from podfence.kube.folders import Exclusion
    from podfence.kube.load import load as load_objects

    options = options or Options()
    files = [os.fspath(path) for path in paths]
    folders = [kustomize] if isinstance(kustomize, str) else kustomize
    read: Callable[..., Loaded] = load_objects
    if any(path.startswith("git:") for path in (*files, *folders, *(chart.path for chart in charts))):
        from podfence.kube import revisions

        read = partial(revisions.load, base=base)
    with uncollected():
        loaded = read(
            files,
            recursive=recursive,
            stdin=stdin,
            kustomize=folders,
            charts=charts,
            exclude=[Exclusion((item,)) if isinstance(item, str) else item for item in exclude],
            keep_going=keep_going,
            validation=cast("Validation", options.validation),
            legacy=options.legacy,
            namespace=namespace,
            parsed=parsed,
            progress=progress,
        )
        state = ClusterState(loaded.objects)
    return Cluster(state, options, loaded, namespace or "default")


def load_live(
    *,
    context: str = "",
    kubeconfig: str | os.PathLike[str] = "",
    cluster: str = "",
    user: str = "",
    impersonate: str = "",
    groups: Sequence[str] = (),
    uid: str = "",
    timeout: float | None = None,
    options: Options | None = None,
    progress: Callable[[float, int], None] | None = None,
) -> Cluster:
    """Return a live cluster as it is now, read from its API server.

    Which cluster, and as whom, is said as to kubectl: by a context of the kubeconfig (its current one if "") or by
    a `cluster` and a `user` of it, by `impersonate`, `groups` and `uid` to act as somebody else. `kubeconfig` is a
    path; without it KUBECONFIG, ``~/.kube/config`` and the service account of a pod are tried. `timeout` is in
    seconds, for each request; None waits as long as it takes.

    Raises InputError for what is wrong in a kubeconfig, AccessError for a cluster that is not configured or
    credentials that fail, and ApiError for what the server refuses.
    """
    from podfence.kube.access.access import Choice
    from podfence.kube.access.load import load as load_access

    options = options or Options()
    choice = Choice(
        kubeconfig=os.fspath(kubeconfig),
        context=context,
        cluster=cluster,
        user=user,
        impersonate=impersonate,
        groups=tuple(groups),
        uid=uid,
    )
    access = load_access(choice, os.environ)
    from podfence.kube.live.snapshot import load_live as load_objects

    loaded = load_objects(access, os.environ, timeout=timeout, legacy=options.legacy, progress=progress)
    return Cluster(ClusterState(loaded.objects), options, loaded, access.namespace, loaded.listed)


def load_lab(name: str = "lab", *, settings: Sequence[str] = ()) -> Cluster:
    """Return a lab of this user as it is now, with the options that its agents enforce policies with.

    `settings` are options in their place, as ``OPTION=VALUE``. Raises LabError if no such lab runs, and OptionError
    for an unknown option.
    """
    from podfence.lab import contents
    from podfence.lab.client import Client

    reply = Client(name).request("objects")
    options = Options.parse([*contents.settings(reply), *settings])
    return Cluster(ClusterState(contents.objects(reply)), options, closed=KINDS)


def diff(
    old: Cluster,
    new: Cluster,
    *,
    names: tuple[str, str] = ("old", "new"),
    progress: Callable[[float, int], None] | None = None,
) -> Difference:
    """Return what a change opens and closes: how the connections of `new` differ from those of `old`, and why.

    Workloads are compared by namespace, kind and name. `names` are what the sides are called in the answer.
    `progress` is told what is done and how much there is to do.
    """
    from podfence.kube.collection import uncollected

    with uncollected():
        from podfence.analysis.diff.difference import Compared, difference

        one, other = (
            Compared(cluster.engine, name, cluster.gaps) for cluster, name in zip((old, new), names, strict=True)
        )
        return difference(one, other, old.index, progress)
