# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from podfence.nft.errors import MissingFeatureError, NotFoundError, NotInstalledError, PermissionDeniedError
from podfence.nft.probe import bridge_features, features, probe
from podfence.nft.process import NftRunner
from podfence.nft.table import Table
from tests.nft.fake import FakeRunner

if TYPE_CHECKING:
    from pathlib import Path


def test_the_real_nft_and_kernel_have_what_is_needed(real: NftRunner) -> None:
    found = probe(real)

    found.require()
    assert found.missing == {}
    assert found.version == real.version()


def test_a_probe_leaves_nothing_behind(real: NftRunner) -> None:
    probe(real)

    with pytest.raises(NotFoundError):
        real.list_table(Table("podfence_probe"))


def test_what_is_missing_is_named_with_the_version() -> None:
    found = probe(FakeRunner(lacks=("ct label", "log group")))

    assert set(found.missing) == {"conntrack labels", "setting conntrack labels", "logging to a group"}
    with pytest.raises(
        MissingFeatureError, match=r"nft 1\.0\.6 .* lacks: conntrack labels \(.*setting conntrack labels"
    ):
        found.require()


def test_what_frames_need_is_there_and_named_when_it_is_missing(real: NftRunner) -> None:
    assert probe(real, bridge_features()).missing == {}
    found = probe(FakeRunner(lacks=("@probe_d",)), bridge_features())
    assert set(found.missing) == {"limits for each link"}


@pytest.mark.parametrize("name", features())
def test_each_feature_is_found_missing_by_its_own_transaction(name: str, real: NftRunner) -> None:
    transaction = features()[name]

    real.check(transaction)
    assert str(transaction).startswith("add table inet podfence_probe\n")


def test_without_the_capability_nothing_is_called_missing(powerless: NftRunner) -> None:
    with pytest.raises(PermissionDeniedError):
        probe(powerless)


def test_without_nft_nothing_is_called_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(NotInstalledError):
        probe(NftRunner())
