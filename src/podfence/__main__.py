# SPDX-License-Identifier: Apache-2.0
"""The start of the programs ``podfence`` and ``kubectl-podfence``, and ``python -m podfence``: the same."""

from __future__ import annotations


def main() -> None:
    """Run the program; an interrupt ends it without a traceback also while it is still being imported."""
    try:
        from podfence.cli.main import main as run  # noqa: PLC0415  inside of what catches the interrupt
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    run()


if __name__ == "__main__":
    main()
