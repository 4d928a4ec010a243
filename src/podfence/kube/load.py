# SPDX-License-Identifier: Apache-2.0
"""From paths to checked objects, in one call."""

from __future__ import annotations

from collections import defaultdict
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, BinaryIO

import msgspec

from podfence.errors import InputError
from podfence.kube import files
from podfence.kube.collection import uncollected
from podfence.kube.decode import decode
from podfence.kube.findings import Code, Finding, Position, Severity
from podfence.kube.objects import KubeObject
from podfence.kube.omissions import Gap, LeftOut, Reason, details, summary

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Sequence

    from podfence.kube.decode import Decoded, Validation
    from podfence.kube.files import Read
    from podfence.kube.folders import Exclusion
    from podfence.kube.objects import Key
    from podfence.kube.origin import Document, Origin
    from podfence.kube.parsed import Parsed
    from podfence.kube.registry import Kind
    from podfence.kube.rendering import Chart

_FEW = 5


class Loaded(msgspec.Struct, frozen=True, eq=False):
    """What was read: objects in input order, warnings in file order, counts of kinds that were ignored.

    `notes` say what was left out and how the rest is meant, one sentence each, and `details` the same with all names.
    `gaps` are where a policy may lie that was not read. Of the kinds `listed` a cluster has no other objects.
    """

    objects: tuple[KubeObject, ...]
    warnings: tuple[Finding, ...]
    ignored: dict[str, int]
    notes: tuple[str, ...] = ()
    details: tuple[str, ...] = ()
    gaps: tuple[Gap, ...] = ()
    listed: frozenset[str] = frozenset()


@uncollected()
def load(
    paths: Sequence[str],
    *,
    recursive: bool = False,
    stdin: BinaryIO | None = None,
    kustomize: Sequence[str] = (),
    charts: Sequence[Chart] = (),
    exclude: Sequence[Exclusion] = (),
    forgiving: bool = True,
    keep_going: bool = False,
    custom: bool = True,
    validation: Validation = "strict",
    legacy: str = "auto",
    namespace: str = "",
    parsed: Parsed | None = None,
    kept: Collection[Kind] = (),
    progress: Callable[[float, int], None] | None = None,
) -> Loaded:
    """Read files, directories, ``-``, kustomizations and charts, and return their objects.

    Of two objects with one key the later wins, as with ``kubectl apply``; a warning names both places.
    Objects that name no namespace are in `namespace`, in ``default`` if that is "".
    Raises InputError with all errors and warnings if there is any error. The other arguments are those of
    `files.read` and of `decode`.
    """
    read = files.read(
        paths,
        recursive=recursive,
        stdin=stdin,
        kustomize=kustomize,
        charts=charts,
        exclude=exclude,
        forgiving=forgiving,
        keep_going=keep_going,
        parsed=parsed,
        progress=progress,
    )
    decoded = decode(
        read.documents,
        validation=validation,
        legacy=legacy,
        namespace=namespace or "default",
        custom=custom,
        folders=read.folders,
        keep_going=keep_going,
        known=parsed.decoded if parsed is not None else None,
        kept=kept,
    )
    left_out = [*read.left_out, *decoded.left_out]
    objects, replaced = _last_of_each(decoded.objects)
    for document in read.documents:
        document.forget()
    problems = _in_file_order([*read.problems, *decoded.problems, *replaced], read.documents, paths)
    if any(problem.severity is Severity.ERROR for problem in problems):
        raise InputError(problems)
    if not (objects or decoded.ignored):
        charted = [chart.path for chart in charts]
        raise InputError([*problems, _nothing_in([*paths, *kustomize, *charted], read, left_out)])
    gaps = [*read.gaps, *decoded.gaps]
    if read.kustomizations:
        from podfence.kube.unapplied import unapplied  # noqa: PLC0415  nothing else asks for it

        gaps += unapplied(objects, read.kustomizations)
    return Loaded(
        objects,
        tuple(problems),
        dict(decoded.ignored),
        notes=tuple(_notes(read, decoded, left_out, is_placed=bool(namespace))),
        details=tuple(details(left_out)),
        gaps=tuple(gaps),
    )


def _nothing_in(inputs: Sequence[str], read: Read, left_out: Collection[LeftOut]) -> Finding:
    """Return the error for input without any object: an answer about nothing would look like an answer."""
    names = ", ".join("<stdin>" if name == "-" else name for name in inputs)
    message = "holds no object, so there is nothing to answer about"
    remedy = ""
    if read.kustomizations and not read.documents:
        message = "holds only kustomizations and what they are made of, so there is nothing to answer about"
        remedy = f"-k {read.kustomizations[0].folder} reads the first one as kustomize renders it"
    elif chart := next((item.name for item in left_out if item.reason is Reason.CHART), ""):
        message += f"; {summary(left_out)}"
        remedy = f"--helm {chart} reads it as helm renders it"
    elif left_out:
        message += f"; {summary(left_out)}"
    if not remedy and read.unread:
        remedy = "its subfolders have some; add -R to read them"
    return Finding(code=Code.NO_OBJECT, position=Position(names), message=message, remedy=remedy)


def _notes(read: Read, decoded: Decoded, left_out: Collection[LeftOut], *, is_placed: bool) -> Iterator[str]:
    """Yield one sentence a kind of thing that was not read, or not as it may have been meant."""
    if counted := summary(left_out):
        yield f"{counted}; -v names them all"
    subfolders, manifests = sum(item.subfolders for item in read.unread), sum(item.manifests for item in read.unread)
    if subfolders:
        yield (
            f"{subfolders} subfolder{'s' * (subfolders > 1)} with {manifests} manifest{'s' * (manifests > 1)} "
            f"{'were' if subfolders > 1 else 'was'} not read (-R reads them)"
        )
    applied = [item.folder for item in read.kustomizations if item.changes]
    if applied:
        more = f" and {len(applied) - 1} more" if len(applied) > 1 else ""
        yield (
            f"patches, namespace, names, labels and images of kustomization {applied[0]}{more} are not applied: "
            f"the files are read as they are written (-k {applied[0]} renders it)"
        )
    elsewhere = sorted({name for item in read.kustomizations for name in item.elsewhere})
    if elsewhere:
        more = f" and {len(elsewhere) - 1} more" if len(elsewhere) > 1 else ""
        yield f"files that kustomizations name in the network were not read: {elsewhere[0]}{more}"
    yield from _unplaced(decoded, is_placed=is_placed)


def _unplaced(decoded: Decoded, *, is_placed: bool) -> Iterator[str]:
    """Yield which policies landed in the namespace ``default`` for want of one, where other objects name theirs."""
    lost = list(dict.fromkeys(key for key in decoded.unplaced if key.kind == "NetworkPolicy"))
    unplaced = set(decoded.unplaced)
    placed = {item.key.namespace for item in decoded.objects if item.key not in unplaced} - {""}
    # Who names default where it is meant knows where the others go.
    if lost and placed and "default" not in placed and not is_placed:
        names = ", ".join(key.name for key in lost[:_FEW]) + (", …" if len(lost) > _FEW else "")
        which = "policy without a namespace is" if len(lost) == 1 else "policies without a namespace are"
        yield f"{len(lost)} {which} taken to be in default (-n NS names another namespace): {names}"


def _last_of_each(found: Iterable[KubeObject]) -> tuple[tuple[KubeObject, ...], list[Finding]]:
    """Return the last of the objects of each name, and one warning for each two files that have some in common."""
    kept: dict[Key, KubeObject] = {}
    replaced: defaultdict[tuple[str, str], list[tuple[Origin, Origin, Key]]] = defaultdict(list)
    for item in found:
        earlier = kept.pop(item.key, None)
        kept[item.key] = item
        if earlier is None or earlier.origin is None or item.origin is None:
            continue
        if earlier.origin.written() != item.origin.written():
            files_of_both = (earlier.origin.document.file, item.origin.document.file)
            replaced[files_of_both].append((earlier.origin, item.origin, item.key))
    return tuple(kept.values()), [_replaced(*pairs[0], len(pairs) - 1) for pairs in replaced.values()]


def _replaced(earlier: Origin, later: Origin, key: Key, more: int) -> Finding:
    others = f", and {more} more" if more else ""
    return Finding(
        code=Code.REPLACED,
        object=key,
        severity=Severity.WARNING,
        position=later.at("metadata", "name"),
        message=f"{key} replaces the one at {earlier.at('metadata', 'name')}{others}",
        remedy="give one of them another name or namespace",
    )


def _in_file_order(problems: Sequence[Finding], documents: Iterable[Document], paths: Sequence[str]) -> list[Finding]:
    """Sort by input, line and column.

    The order of inputs is that of their documents; one without any takes the place its name has among
    those of the same argument.
    """
    read = list(dict.fromkeys(document.file for document in documents))
    order = {file: (place, "") for place, file in enumerate(read)}
    for file in {problem.position.file for problem in problems} - order.keys():
        rank = _rank(file, paths)
        after = (place for place, other in enumerate(read) if _rank(other, paths) > rank)
        order[file] = (next(after, len(read)) - 1, file)
    return sorted(problems, key=lambda problem: (*order[problem.position.file], problem.position))


def _rank(file: str, paths: Sequence[str]) -> tuple[int, str]:
    for index, path in enumerate(paths):
        if file.startswith(f"{path.rstrip('/')}/") or file == path or (file, path) == ("<stdin>", "-"):
            return index, file
        if fnmatchcase(file, path):
            return index, file
    return len(paths), file
