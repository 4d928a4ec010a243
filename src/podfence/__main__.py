# SPDX-License-Identifier: Apache-2.0
"""``python -m podfence``: the same as the ``podfence`` command."""

from __future__ import annotations

from podfence.cli.main import main

if __name__ == "__main__":
    main()
