# SPDX-License-Identifier: Apache-2.0
"""``podfence diff``: what it compares, when it fails, whose configuration counts, and what it says of bad input."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import pytest

from podfence.report.comment import LIMIT, mark
from podfence.report.formats import REMARKS
from tests.cli import manifests
from tests.repositories import ENVIRON, Checkout

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from click.testing import Result

    Run = Callable[..., Result]

OPEN = manifests.POLICY.replace("    ports:\n    - port: 5432\n", "")
FROM_ALL = manifests.POLICY + "  - from:\n    - ipBlock: {cidr: 0.0.0.0/0}\n"
ABROAD = manifests.POLICY + "  - from:\n    - namespaceSelector: {}\n"
UNREADABLE = "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: [\n"
COMMENTED = f"# The database.\n{manifests.POLICY}"


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    made = Checkout(tmp_path_factory.mktemp("template"))
    made.commit({"deploy/shop.yaml": manifests.SHOP, "deploy/db.yaml": manifests.POLICY})
    made.git("checkout", "-q", "-b", "topic")
    return made


@pytest.fixture
def shop(template: Checkout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, nowhere: None) -> Checkout:
    """Return a checkout of the branch topic, which is still where main is."""
    for name, value in ENVIRON.items():
        monkeypatch.setenv(name, value)
    made = template.copied(tmp_path / "repository")
    monkeypatch.chdir(made.folder)
    return made


# What is compared


@pytest.mark.parametrize(
    ("old", "new", "code", "said"),
    [
        ("git:HEAD", "deploy", 1, "opens 1 connection"),
        ("git:main", "deploy", 1, "opens 1 connection"),
        ("git:merge-base", "deploy", 1, "opens 1 connection"),
        ("git:merge-base:deploy", "deploy/", 1, "opens 1 connection"),
        ("git:merge-base:./deploy", "./deploy", 1, "opens 1 connection"),
        ("deploy", "git:HEAD", 1, "closes 1 connection"),
        ("git:HEAD", "git:main", 0, "no difference"),
        ("deploy", "deploy", 0, "no difference"),
    ],
)
def test_a_side_is_a_folder_or_a_commit(shop: Checkout, run: Run, old: str, new: str, code: int, said: str) -> None:
    shop.write({"deploy/db.yaml": OPEN})
    result = run("diff", old, new, "-R")
    assert (result.exit_code, result.stdout.splitlines()[0]) == (code, said), result.stderr


def test_one_side_is_standard_input(shop: Checkout, run: Run) -> None:
    both = manifests.SHOP + "---\n" + OPEN
    assert run("diff", "deploy", "-", stdin=both).stdout.startswith("opens 1 connection\n")
    assert run("diff", "-", "deploy", stdin=both).stdout.startswith("closes 1 connection\n")
    assert run("diff", "git:HEAD:deploy", "-", stdin=both).stdout.startswith("opens 1 connection\n")


def test_the_cause_is_named_with_its_line_on_the_side_that_has_it(shop: Checkout, run: Run) -> None:
    shop.write({"deploy/db.yaml": OPEN})
    assert "deploy/db.yaml:7)" in run("diff", "git:HEAD", "deploy").stdout
    (shop.folder / "deploy" / "db.yaml").unlink()
    assert "NetworkPolicy shop/db (git:HEAD:deploy/db.yaml:1)" in run("diff", "git:HEAD", "deploy").stdout


def test_a_change_of_the_text_alone_is_told_and_no_difference(shop: Checkout, run: Run) -> None:
    shop.write({"deploy/db.yaml": COMMENTED.replace("5432", "5432 # postgres")})
    result = run("diff", "git:HEAD", "deploy")
    assert result.exit_code == 0
    assert result.stdout.splitlines() == [
        "no connection changes: only the text of objects changed",
        "",
        "only the text changed  NetworkPolicy shop/db (deploy/db.yaml:2)",
    ]


def test_paths_of_flags_are_inside_of_both_sides(shop: Checkout, run: Run) -> None:
    shop.commit({"other/pod.yaml": manifests.SHOP.replace("name: shop", "name: x").replace("space: shop", "space: x")})
    shop.write({"deploy/db.yaml": OPEN, "other/pod.yaml": UNREADABLE})
    for old, new in (("git:HEAD", "."), (".", "git:HEAD"), ("git:HEAD", str(shop.folder))):
        result = run("diff", old, new, "-f", "deploy")
        assert result.exit_code == 1, result.stderr
        assert result.stdout.splitlines()[0].endswith(" 1 connection")


def test_a_kustomization_of_a_commit_is_rendered_with_what_lies_beside_it(shop: Checkout, run: Run) -> None:
    shop.write(
        {
            "base/kustomization.yaml": "resources: [../deploy/shop.yaml, ../deploy/db.yaml]\n",
            "deploy/kustomization.yaml": "resources: [shop.yaml, db.yaml]\n",
            "prod/kustomization.yaml": "resources: [../deploy]\nnamePrefix: prod-\n",
        }
    )
    shop.commit()
    shop.write({"deploy/db.yaml": OPEN})
    result = run("diff", "git:HEAD", ".", "-k", "prod")
    assert result.exit_code == 1, result.stderr
    assert "shop/deploy/prod-api -> shop/sts/prod-db" in result.stdout


# What surprised in the history of real repositories


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        # One dash too many: the second item is every port of TCP.
        (
            "- port: 5432",
            "- port: 5432\n    - protocol: TCP",
            "opened  shop/deploy/api -> shop/sts/db  TCP 1-5431,5433-65535",
        ),
        # A block that looks like everybody is about IPv4 only.
        (
            "  - from:\n    - podSelector: {matchLabels: {app: api}}\n    ports:",
            "  - ports:",
            "opened  ::/0 -> shop/sts/db  TCP 5432",
        ),
        # Without a rule for egress, the new policyTypes closes everything that the pods open.
        ("  ingress:\n", "  policyTypes: [Ingress, Egress]\n  ingress:\n", "closed  shop/sts/db -> "),
    ],
)
def test_changes_that_say_something_else_than_they_seem_to(
    shop: Checkout, run: Run, old: str, new: str, said: str
) -> None:
    before = manifests.POLICY
    if "::/0" in said:
        before += "  - from:\n    - ipBlock: {cidr: 0.0.0.0/0}\n    ports:\n    - port: 5432\n"
    shop.commit({"deploy/db.yaml": before})
    shop.write({"deploy/db.yaml": before.replace(old, new) if old else before})
    assert said in run("diff", "git:HEAD", "deploy").stdout


@pytest.mark.parametrize("flags", [(), ("--fail-on", "unseen")])
def test_a_policy_of_which_the_repository_has_no_pod_is_no_silent_change(
    shop: Checkout, run: Run, flags: tuple[str, ...]
) -> None:
    shop.write({"deploy/other.yaml": manifests.POLICY.replace("db", "elsewhere")})
    result = run("diff", "git:HEAD", "deploy", *flags)
    assert result.exit_code == 1
    assert result.stdout.startswith("changes 1 policy for pods that are not here\n")
    assert "selects no pod here" in result.stdout


# When it fails


@pytest.mark.parametrize(
    ("policy", "fail_on", "code"),
    [
        (OPEN, "opened", 1),
        (OPEN, "closed,internet,cross-namespace,unknown,known,incomplete,complete", 0),
        (OPEN, "none", 0),
        (FROM_ALL, "internet", 1),
        (FROM_ALL, "closed", 0),
        (ABROAD, "closed , opened", 1),
        (COMMENTED, "opened,closed", 0),
        ("", "opened", 1),
        ("", "closed", 0),
        (UNREADABLE, "incomplete", 1),
    ],
)
def test_only_what_is_named_fails(shop: Checkout, run: Run, policy: str, fail_on: str, code: int) -> None:
    shop.write({"deploy/db.yaml": policy})
    result = run("diff", "git:HEAD", "deploy", "--fail-on", fail_on, "--keep-going", "--set", "world=closed")
    assert result.exit_code == code, result.output


@pytest.mark.parametrize("text", ["open", "opened,", "none,opened", ""])
def test_a_kind_that_does_not_exist_is_wrong_usage(shop: Checkout, run: Run, text: str) -> None:
    result = run("diff", "git:HEAD", "deploy", "--fail-on", text)
    assert result.exit_code == 2
    assert "'--fail-on'" in result.stderr


def test_connections_of_new_workloads_are_of_their_own_kind(shop: Checkout, run: Run) -> None:
    job = manifests.SHOP.replace("name: web,", "name: job,").replace("app: web", "app: job")
    shop.write({"deploy/job.yaml": job})
    assert run("diff", "git:HEAD", "deploy", "--fail-on", "opened,closed,removed").exit_code == 0
    assert run("diff", "git:HEAD", "deploy", "--fail-on", "added").exit_code == 1
    assert run("diff", "deploy", "git:HEAD", "--fail-on", "removed").exit_code == 1


def accepting(**keys: str) -> str:
    entry = {
        "change": "opened",
        "from": "shop/deploy/api",
        "to": "shop/sts/*",
        "reason": "tests",
        "expires": "2999-12-31",
    }
    lines = (f"{key} = {value if key == 'expires' else json.dumps(value)}" for key, value in (entry | keys).items())
    return "[[accept]]\n" + "\n".join(lines) + "\n"


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (accepting(), 0),
        (accepting(change="closed"), 1),
        (accepting(**{"from": "shop/deploy/web"}), 1),
        (accepting(to="shop/sts/d"), 1),
        (accepting(ports="5432"), 1),
        (
            accepting(ports="tcp") + accepting(ports="udp") + accepting(ports="1-65535/sctp") + accepting(ports="icmp"),
            0,
        ),
        (accepting(ports="tcp") + accepting(ports="udp"), 1),
        (accepting(expires="2026-01-01"), 1),
        ("", 1),
    ],
)
def test_what_is_accepted_does_not_fail(shop: Checkout, run: Run, text: str, code: int) -> None:
    shop.commit({"accepted.toml": text})
    shop.write({"deploy/db.yaml": OPEN})
    for more in ((), ("--fail-on", "opened")):
        result = run("diff", "git:HEAD", "deploy", "--accept", "accepted.toml", *more)
        assert result.exit_code == code, result.stdout
        assert ("accepted: tests, until 2999-12-31" in result.stdout) is (code == 0)


def test_an_expired_entry_is_told(shop: Checkout, run: Run) -> None:
    shop.commit({"accepted.toml": accepting() + accepting(expires="2026-01-01", reason="the import")})
    result = run("diff", "git:HEAD", "deploy", "--accept", "accepted.toml", "-q")
    assert result.stderr == (
        "git:HEAD:accepted.toml: entry 2: warning: expired on 2026-01-01, so it accepts nothing: the import\n"
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[[accept]]\n", "x.toml: entry 1: reason: say in a text why this is accepted"),
        (
            accepting(expires='"soon"'),
            "x.toml: entry 1: expires: expected the last day, such as 2027-03-31, found 'soon'",
        ),
        (accepting(change="open"), "x.toml: entry 1: change: expected one of opened, closed, added, "),
        (
            accepting(until="x"),
            "x.toml: entry 1: unknown key 'until'; there are change, from, to, ports, reason, expires",
        ),
        (accepting(reasons="x"), "x.toml: entry 1: unknown key 'reasons'; did you mean reason?"),
        ("[[accept]]\nto = []\nreason = 'x'\nexpires = 2027-03-31\n", "x.toml: entry 1: to: expected a text or a list"),
        (accepting(ports="http"), "x.toml: entry 1: ports: 'http' is a name; write its number"),
        (accepting(ports="0"), "x.toml: entry 1: ports: port '0': ports run from 1 to 65535"),
        (accepting(to=""), "x.toml: entry 1: to: expected a text or a list of texts, found ''"),
        ("accept = 1\n", "x.toml: expected a list of tables [[accept]]"),
        ("[[allow]]\n", "x.toml: expected a list of tables [[accept]], found 'allow'"),
        ("accept = [1]\n", "x.toml: entry 1: expected a table, found 1"),
        ("[[accept\n", "x.toml: "),
    ],
)
def test_a_mistake_in_the_file_of_accepted_differences_is_named(shop: Checkout, run: Run, text: str, said: str) -> None:
    shop.write({"x.toml": text})
    result = run("diff", "deploy", "deploy", "--accept", "x.toml")
    assert result.exit_code == 2
    assert said in result.stderr


# Whose files decide


def test_a_change_cannot_accept_itself_or_weaken_its_review(shop: Checkout, run: Run) -> None:
    shop.write(
        {
            "deploy/db.yaml": OPEN,
            "podfence.toml": 'exclude = ["db.yaml"]\noptions.world = "closed"\n',
            "accepted.toml": accepting(),
        }
    )
    shop.commit()
    for flags in ((), ("--config", "podfence.toml"), ("--accept", "accepted.toml")):
        result = run("diff", "git:merge-base", "git:HEAD", "-f", "deploy", *flags)
        assert (result.exit_code, result.stdout.splitlines()[0]) == (1, "opens 1 connection")
        assert bool(flags) is ("is not in git:merge-base, so it does not count" in result.stderr)
    # Once merged, they count.
    assert run("diff", "git:HEAD", "deploy", "--accept", "accepted.toml").exit_code == 0
    assert "leaves out db.yaml" in run("diff", "git:HEAD", "deploy").stderr


def test_a_file_outside_of_the_repository_is_the_users_own(shop: Checkout, run: Run, tmp_path: Path) -> None:
    (tmp_path / "accepted.toml").write_text(accepting())
    (tmp_path / "podfence.toml").write_text('exclude = ["db.yaml"]\n')
    shop.write({"deploy/db.yaml": OPEN})
    for path in ("../accepted.toml", str(tmp_path / "accepted.toml")):
        assert run("diff", "git:HEAD", "deploy", "--accept", path).exit_code == 0
    result = run("diff", "git:HEAD", "deploy", "--config", "../podfence.toml")
    assert (result.exit_code, result.stdout) == (0, "no difference\n")


@pytest.mark.parametrize("where", ["", "deploy"])
def test_the_configuration_of_old_says_what_is_read(
    shop: Checkout, run: Run, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    shop.commit({"podfence.toml": 'filename = ["deploy"]\nexclude = ["extra/"]\n', "deploy/extra/x.yaml": UNREADABLE})
    shop.commit({"deploy/db.yaml": OPEN, "podfence.toml": 'filename = ["nowhere"]\n'})
    monkeypatch.chdir(shop.folder / where)
    for flags in (("-R",), ("-R", "--config", f"{'../' * bool(where)}podfence.toml")):
        result = run("diff", "git:HEAD~1", "git:HEAD", *flags)
        assert result.exit_code == 1, result.stderr
        assert result.stdout.startswith("opens 1 connection\n")
    # Of folders, that of the first counts too.
    shop.git("worktree", "add", "-q", str(shop.folder.parent / "old"), "HEAD~1")
    result = run("diff", str(shop.folder.parent / "old"), str(shop.folder), "-R")
    assert result.exit_code == 1, result.stderr


@pytest.mark.parametrize("text", ["kind = 1\n", "exclude = [\n", 'filename = ["../x"]\n', 'filename = ["/etc"]\n'])
def test_a_mistake_in_the_configuration_of_old_is_named(shop: Checkout, run: Run, text: str) -> None:
    shop.commit({"podfence.toml": text})
    result = run("diff", "git:HEAD", "deploy")
    assert result.exit_code == 2
    assert "error: git:HEAD:podfence.toml: " in result.stderr


# Input that is bad on one side or on both


def test_what_is_unread_on_both_sides_is_no_difference(shop: Checkout, run: Run) -> None:
    shop.commit({"deploy/b.yaml": UNREADABLE, "deploy/c/policy.yaml": manifests.POLICY})
    shop.write({"deploy/db.yaml": COMMENTED})
    for old, new in (
        ("git:HEAD", "deploy"),
        ("deploy", "git:HEAD"),
        ("git:HEAD:deploy", "git:HEAD:deploy"),
        ("git:HEAD", "./deploy"),
    ):
        result = run("diff", old, new, "--keep-going")
        assert result.exit_code == 0, result.output
        assert "leaves" not in result.stdout.splitlines()[0]


def test_a_place_that_is_unread_on_both_sides_is_new_if_it_is_about_more(shop: Checkout, run: Run) -> None:
    moved = "namespace: elsewhere\nresources: [shop.yaml, db.yaml, more.yaml]\n"
    more, yet = (manifests.POLICY.replace("space: shop", f"space: {name}") for name in ("more", "yet"))
    shop.commit({"deploy/kustomization.yaml": moved, "deploy/more.yaml": more})
    shop.write({"deploy/more.yaml": f"{more}---\n{yet}"})
    assert "leaves 1 more place unread" in run("diff", "git:HEAD", "deploy", "--fail-on", "complete").stdout
    result = run("diff", "deploy", "git:HEAD", "--fail-on", "incomplete,complete")
    assert (result.exit_code, "unread" in result.stdout.splitlines()[0]) == (0, False)


def test_a_file_that_parses_on_one_side_only_is_incomplete_there(shop: Checkout, run: Run) -> None:
    shop.write({"deploy/db.yaml": UNREADABLE})
    assert run("diff", "git:HEAD", "deploy").exit_code == 2
    result = run("diff", "git:HEAD", "deploy", "--keep-going")
    assert result.exit_code == 1
    assert "incomplete: deploy/db.yaml cannot be read" in result.stdout
    result = run("diff", "deploy", "git:HEAD", "--keep-going", "--fail-on", "complete")
    assert result.exit_code == 1
    assert "complete: deploy/db.yaml cannot be read" in result.stdout


def test_two_unreadable_sides_are_told_together(shop: Checkout, run: Run) -> None:
    shop.commit({"deploy/db.yaml": UNREADABLE})
    shop.write({"deploy/db.yaml": UNREADABLE.replace("metadata", "spec")})
    result = run("diff", "git:HEAD", "deploy")
    assert result.exit_code == 2
    assert "git:HEAD:deploy/db.yaml:3:12: error: " in result.stderr
    assert "\ndeploy/db.yaml:3:8: error: " in result.stderr
    assert result.stderr.endswith("podfence: error: errors in OLD and in NEW; nothing was compared\n")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("git:nope", "deploy"), "error: git:nope: there is no revision nope here"),
        (("--", "git:--output=x", "deploy"), "error: git:--output=x: there is no revision --output=x here"),
        (("git:HEAD:deploy", "nowhere"), "neither"),
        (("nowhere", "deploy"), "nowhere: error: no such file or folder"),
        (("git:HEAD", "nowhere"), "nowhere: error: no such file or folder"),
        (("git:HEAD:x", "git:HEAD:y"), "git:HEAD:y: error: no such file or folder"),
        (
            ("git:HEAD", "git:HEAD"),
            "error: neither git:HEAD nor git:HEAD has an object, so there is nothing to compare",
        ),
        (("deploy",), "Missing argument 'NEW'"),
        (("-", "-"), "only one side can be standard input"),
        (("deploy", "-", "-f", "x"), "-f needs folders or commits to read in, not standard input"),
        (("deploy", "deploy", "-f", "-"), "-f - excludes OLD and NEW"),
        (("deploy", "deploy", "--prune"), "--prune needs OLD to be live or lab, and NEW manifests"),
        (("deploy", "deploy", "--base", "main"), "--base needs git:merge-base"),
        (
            ("deploy", "deploy", "--context", "c"),
            "--context chooses a live cluster, and deploy and deploy are compared",
        ),
        (("deploy", "deploy", "--write", "x=y"), "write FORMAT=FILE, with one of the formats table, json"),
        (("deploy", "deploy", "--write", "md="), "write FORMAT=FILE"),
        (
            ("deploy", "deploy", "--write", "md=no/such/folder"),
            "error: no/such/folder: cannot be written: No such file",
        ),
        (("deploy", "deploy", "--config", "nope.toml"), "error: nope.toml: cannot be read"),
        (("deploy", "deploy", "--accept", "nope.toml"), "error: nope.toml: cannot be read"),
        (("lab", "deploy"), "error: no lab"),
        (("live", "deploy"), "kubeconfig"),
    ],
)
def test_what_cannot_be_compared_is_told_with_exit_code_2(
    shop: Checkout, run: Run, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], said: str
) -> None:
    monkeypatch.setenv("PODFENCE_LAB", "no-such-lab")
    result = run("diff", *arguments)
    if said == "neither":
        # A folder that the change removes: everything in it is removed.
        assert (result.exit_code, result.stdout.splitlines()[0]) != (2, "")
        return
    assert (result.exit_code, result.stdout) == (2, "")
    assert said in result.stderr


@pytest.mark.parametrize(("old", "new"), [("git:main", "first"), ("first", "git:main"), ("git:main", "git:HEAD")])
def test_the_first_manifests_of_a_repository_and_the_last_are_a_change(
    shop: Checkout, run: Run, old: str, new: str
) -> None:
    shop.commit({"first/shop.yaml": manifests.SHOP, "first/README.md": "text"})
    result = run("diff", old, new, *(("-f", "first") if new == "git:HEAD" else ()), "--fail-on", "opened,closed")
    assert result.exit_code == 0, result.stderr
    assert "has no object here: everything is new, or removed" in result.stderr
    assert "Deployment shop/web" in result.stdout


@pytest.mark.parametrize("form", REMARKS)
def test_input_that_is_refused_is_remarked_at_its_line(shop: Checkout, run: Run, form: str, tmp_path: Path) -> None:
    shop.write({"deploy/broken.yaml": manifests.BROKEN})
    for command in (("list", "-f", "deploy"), ("check", "a", "b", "-f", "deploy"), ("diff", "git:HEAD", "deploy")):
        result = run(*command, "-o", form)
        assert result.exit_code == 2
        assert re.search(r"deploy/broken\.yaml", result.stdout)
        assert "must be between 1 and 65535" in result.stdout


def test_a_comment_is_written_also_where_there_is_no_answer(shop: Checkout, run: Run, tmp_path: Path) -> None:
    shop.write({"deploy/broken.yaml": manifests.BROKEN})
    file = tmp_path / "comment.md"
    run("diff", "git:HEAD", "deploy", "--write", f"md={file}", "--title", "shop")
    text = file.read_text()
    assert text.startswith(f"{mark('shop')}\n### podfence shop: no answer\n")
    assert "deploy/broken.yaml:8:13: error" in text.replace("\\", "")


# The comment


def test_a_long_comment_is_cut_between_lines_and_its_folds_are_closed(shop: Checkout, run: Run) -> None:
    policies = "---\n".join(
        manifests.POLICY.replace("name: db", f"name: {'x' * 200}-{number}").replace("5432", str(number + 1))
        for number in range(60)
    )
    shop.write({f"deploy/{'y' * 250}/{'z' * 250}/{'a' * 250}/more.yaml": policies})  # every line of a cause has it
    text = run("diff", "git:HEAD", "deploy", "-R", "-o", "md").stdout
    assert LIMIT * 0.9 < len(text.encode()) < 65_536
    assert text.count("<details>") == text.count("</details>")
    assert "The comment would be too long" in text


def test_text_of_a_change_cannot_call_anybody_or_end_the_comment(shop: Checkout, run: Run) -> None:
    shop.write({"deploy/@team|`x` <!-- -->.yaml": OPEN.replace("name: db", "name: other")})
    text = run("diff", "git:HEAD", "deploy", "-o", "md", "--title", "a --> @team").stdout
    outside = re.sub(r"`[^`]*`", "", text)
    assert "@team" not in outside
    assert outside.count("-->") == 1
