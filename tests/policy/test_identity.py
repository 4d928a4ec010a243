# SPDX-License-Identifier: Apache-2.0
"""Names of rules and policies: as text, and read again; policies of the whole cluster have a place among them."""

from __future__ import annotations

import pytest

from podfence.kube.objects import Key
from podfence.policy.identity import RuleId, default, group_text, icmp_option, read_group, read_title, short_text
from podfence.policy.verdict import Direction, PolicyRef

OWN, WIDE = Key("NetworkPolicy", "shop", "db"), Key("ClusterPolicy", "", "c0")


@pytest.mark.parametrize(
    ("rule", "text", "title"),
    [
        (RuleId(*OWN, Direction.INGRESS, 0), "NetworkPolicy shop/db rule 1", "ingress rule 1: NetworkPolicy shop/db"),
        (RuleId(*WIDE, Direction.EGRESS, 11), "ClusterPolicy c0 rule 12", "egress rule 12: ClusterPolicy c0"),
    ],
)
def test_a_rule_has_one_text_and_a_title_that_is_read_again(rule: RuleId, text: str, title: str) -> None:
    assert (str(rule), rule.title, read_title(title)) == (text, title, rule)


@pytest.mark.parametrize(
    ("credited", "title"),
    [
        (icmp_option(Direction.INGRESS), "ingress: option icmp=allowed"),
        (default(Direction.EGRESS), "egress: default allow"),
    ],
)
def test_what_is_no_rule_comes_after_all_rules_and_is_not_read_as_one(credited: RuleId, title: str) -> None:
    assert credited.title == title
    assert read_title(title) is None
    assert credited > RuleId("ZPolicy", "zzz", "zzz", Direction.INGRESS, 99)


@pytest.mark.parametrize(
    ("policies", "text"),
    [
        ((OWN,), "shop/db"),
        ((OWN, Key("NetworkPolicy", "shop", "web"), WIDE), "shop/db,web,ClusterPolicy c0"),
        ((WIDE,), "shop/ClusterPolicy c0"),
    ],
)
def test_policies_of_a_group_are_read_from_their_text(policies: tuple[Key, ...], text: str) -> None:
    assert group_text("shop", policies) == text
    assert read_group(text) == ("shop", policies)


@pytest.mark.parametrize("text", ["", "/", "shop", "a/b/c", "shop/db,", "shop/ClusterPol..."])
def test_a_cut_or_foreign_text_of_a_group_is_read_somehow(text: str) -> None:
    _, policies = read_group(text)
    assert len(policies) == text.count(",") + 1


def test_a_policy_is_named_with_its_namespace_if_it_has_one() -> None:
    assert [short_text("shop", key) for key in (OWN, WIDE)] == ["shop/db", "ClusterPolicy c0"]
    assert [str(PolicyRef(*key)) for key in (OWN, WIDE)] == ["NetworkPolicy shop/db", "ClusterPolicy c0"]
