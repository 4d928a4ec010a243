# SPDX-License-Identifier: Apache-2.0
"""The runner that speaks to the kernel itself, and says what it leaves to nft."""

from __future__ import annotations

from podfence.nft.direct import DirectRunner


class Watched(DirectRunner):
    """Keeps the scripts that are left to nft."""

    def __init__(self) -> None:
        super().__init__()
        self.left: list[str] = []

    def _nft(self, *arguments: str, script: str = "") -> bytes:
        if script:
            self.left.append(script)
        return super()._nft(*arguments, script=script)
