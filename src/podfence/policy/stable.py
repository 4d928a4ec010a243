# SPDX-License-Identifier: Apache-2.0
"""Labels that stay: those by which a selector may mean the pods of a workload next month too."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from podfence.cluster.controllers import ADDED, UNKNOWN

if TYPE_CHECKING:
    from podfence.cluster.members import Member
    from podfence.kube.objects import Labels

_PASSING: Final = frozenset({
    "app.kubernetes.io/managed-by", "app.kubernetes.io/version", "chart", "date", "generation", "helm.sh/chart",
    "heritage", "revision", "version",
})  # fmt: skip
"""Keys of labels that change with a release, or that everything has which some tool has made."""

_PASSING_ENDS: Final = ("-hash", "/hash", "-revision", "/revision", "-uid", "/version", "checksum")
_HASH: Final = re.compile(r"(?=.*\d)(?=.*[a-f])[0-9a-f]{8,}|(?=.*\d)[bcdfghjklmnpqrstvwxz2456789]{9,10}")


def stable_labels(member: Member) -> Labels:
    """Return the labels of a pod that its workload's next pods will have, and no others are likely to."""
    return {
        key: value
        for key, value in sorted(member.labels.items())
        if value != UNKNOWN
        and key not in ADDED
        and key not in _PASSING
        and not key.endswith(_PASSING_ENDS)
        and not _HASH.fullmatch(value)
        and not (value == member.key.name and member.workload is not None and member.pod is not None)
    }
