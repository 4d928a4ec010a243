# SPDX-License-Identifier: Apache-2.0
"""What is wrong with the way to a cluster, where no line of a file can be named.

What a line of a kubeconfig is to blame for is an InputError, with that line.
"""

from __future__ import annotations

from podfence.errors import PodfenceError


class AccessError(PodfenceError):
    """A cluster cannot be reached as asked for: no configuration, an unknown name, credentials that fail."""
