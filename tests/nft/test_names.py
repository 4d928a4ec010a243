# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import ctypes.util
import re
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from podfence.nft.chain import Chain
from podfence.nft.errors import InvalidError
from podfence.nft.names import COMMENT_LIMIT, KEYWORDS, NAME_LIMIT, check_comment, check_name, identifier
from podfence.nft.rule import Rule
from podfence.nft.table import Table
from podfence.nft.transaction import Transaction

if TYPE_CHECKING:
    from podfence.nft.process import NftRunner

TABLE = Table("t")


@pytest.mark.parametrize("name", ["i7", "ok_shop_db.v1_0", "_x", "a/b-c", "x" * NAME_LIMIT, "established", "Accept"])
def test_a_name_of_nft_is_taken_by_nft_too(name: str, real: NftRunner) -> None:
    check_name(name, "chain")

    real.run(Transaction(TABLE).add(TABLE, Chain(name), Chain("c"), Rule("c", f"jump {name}")))

    assert name in {chain.name for chain in real.list_chains(TABLE)}


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("", "a letter or _ comes first"),
        ("7i", "a letter or _ comes first"),
        ("-a", "a letter or _ comes first"),
        (".a", "a letter or _ comes first"),
        ("a b", "a letter or _ comes first"),
        ("a;b", "a letter or _ comes first"),
        ("a\n", "a letter or _ comes first"),
        ("ä", "a letter or _ comes first"),
        ("a}", "a letter or _ comes first"),
        ("fwd", "a word of nft's language"),
        ("dst", "a word of nft's language"),
        ("auto-merge", "a word of nft's language"),
        ("x" * (NAME_LIMIT + 1), "255 is the limit"),
    ],
)
def test_a_name_that_nft_refuses_is_refused_with_the_reason(name: str, reason: str) -> None:
    with pytest.raises(InvalidError, match=reason):
        Chain(name)


def test_every_word_in_nfts_library_that_nft_refuses_as_a_name_is_a_keyword(namespace: tuple[str, ...]) -> None:
    found = ctypes.util.find_library("nftables")
    library = next((path for path in Path("/usr").glob(f"lib*/**/{found}") if path.is_file()), None)
    if library is None:
        pytest.skip("libnftables.so is not below /usr/lib: install libnftables1")
    words = {word.decode() for word in re.findall(rb"(?<![ -~])([A-Za-z_][\w/.-]{1,40})(?=\0)", library.read_bytes())}
    script = "add table inet t\n" + "".join(f"add chain inet t {word}\n" for word in sorted(words - KEYWORDS))

    done = subprocess.run(
        [*namespace, "nft", "-c", "-f", "-"], input=script, text=True, capture_output=True, check=False
    )

    assert len(words) > 500
    assert done.stderr == ""


TEXTS = st.lists(st.text(max_size=12) | st.sampled_from(["a_b", "a", "b", "_", "/5f", "", "h", "x" * 250]), min_size=1)


@given(TEXTS, TEXTS)
@example(["a_b"], ["a", "b"])
@example(["a/5fb"], ["a_b"])
@example(["x" * 300], ["x" * 301])
@example([""], ["", ""])
def test_identifiers_of_different_texts_differ_and_are_valid(one: list[str], other: list[str]) -> None:
    first, second = identifier("p", *one), identifier("p", *other)

    check_name(first, "chain")
    assert (first == second) == (one == other)


def test_an_identifier_leaves_names_of_kubernetes_readable() -> None:
    assert identifier("ok", "shop", "allow-db.v1", "0") == "ok_shop_allow-db.v1_0"


def test_an_identifier_may_have_a_keyword_for_its_prefix() -> None:
    assert identifier("ct", "ct") == "ct_ct"


@pytest.mark.parametrize(("prefix", "parts"), [("", ["a"]), ("a_b", ["c"]), ("a", []), ("7", ["a"])])
def test_an_identifier_refuses_an_ambiguous_prefix(prefix: str, parts: list[str]) -> None:
    with pytest.raises(InvalidError, match="an identifier needs a prefix"):
        identifier(prefix, *parts)


@pytest.mark.parametrize(
    ("comment", "reason"),
    [
        ("", "not empty"),
        ('say "x"', "quotation mark"),
        ("two\nlines", "control character"),
        ("ä" * 64, f"at most {COMMENT_LIMIT} bytes"),
    ],
)
def test_a_comment_that_would_not_come_back_is_refused(comment: str, reason: str) -> None:
    with pytest.raises(InvalidError, match=reason):
        check_comment(comment)
