# SPDX-License-Identifier: Apache-2.0
"""A pull request gets a comment and annotations from one copied file, and a fork gets a summary."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
import yaml

from tests.ci.runner import ROOT, Comments, action, run
from tests.report.schemas import Sarif
from tests.repositories import ENVIRON, Checkout

if TYPE_CHECKING:
    from collections.abc import Iterator

PROGRAM = str(Path(sys.executable).with_name("podfence"))
MARK = "<!-- podfence diff -->"
RULE = """\
  - from:
    - podSelector:
        matchLabels: {tier: web}
    ports:
    - port: mysql
"""


def steps(path: str) -> list[dict[str, Any]]:
    """Return the steps of a workflow that has one job."""
    (job,) = yaml.safe_load((ROOT / path).read_text())["jobs"].values()
    found: list[dict[str, Any]] = job["steps"]
    return found


COPIED: dict[str, str] = steps("examples/ci/github.yaml")[-1]["with"]


@pytest.fixture
def pull(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Checkout:
    """Return a checkout of a pull request that lets the web pods connect to the database of the shop."""
    for name, value in ENVIRON.items():
        monkeypatch.setenv(name, value)
    made = Checkout(tmp_path / "shop")
    shutil.copytree(ROOT / "examples" / "three-tier", made.folder / "manifests")
    made.commit()
    made.git("update-ref", "refs/remotes/origin/main", "main")
    made.git("checkout", "-q", "-b", "topic")
    for name, start in (("db", "  egress:\n"), ("web", "  egress:\n")):
        path = made.folder / "manifests" / "policies" / f"{name}.yaml"
        rule = RULE if name == "db" else ""
        path.write_text(path.read_text().replace(start, rule + start))
    web = made.folder / "manifests" / "policies" / "web.yaml"
    web.write_text(web.read_text() + "  - to:\n    - podSelector:\n        matchLabels: {tier: db}\n")
    made.commit()
    return made


@pytest.fixture
def github() -> Iterator[Comments]:
    with Comments() as api:
        yield api


def test_the_copied_workflow_comments_and_annotates_the_lines(pull: Checkout, tmp_path: Path, github: Comments) -> None:
    inputs = COPIED | {"podfence": PROGRAM, "sarif": "podfence.sarif"}
    job = run(pull.folder, tmp_path / "temporary", inputs, api=github.url)

    assert job.code == 0, job.log
    lines = (pull.folder / "manifests" / "policies" / "db.yaml").read_text().splitlines()
    (number,) = (number for number, line in enumerate(lines, 1) if "{tier: web}" in line)
    assert f"::warning file=manifests/policies/db.yaml,line={number - 2},col=5,title=podfence%3A opened::" in job.log
    assert "shop/deploy/web -> shop/deploy/db TCP 3306" in job.log
    (scanned,) = msgspec.json.decode((pull.folder / "podfence.sarif").read_bytes(), type=Sarif).runs
    (place,) = scanned.results[0].locations
    assert place.physical_location.artifact_location.uri == "manifests/policies/db.yaml"
    assert place.physical_location.region.start_line == number - 2
    (comment,) = github.comments
    assert comment["body"].startswith(f"{MARK}\n### podfence: opens 1 connection\n")
    assert "| opened | `shop/deploy/web` | `shop/deploy/db` | TCP 3306 |" in comment["body"]
    assert job.summary == comment["body"]
    assert job.outputs == {"exit-code": "0", "comment": str(tmp_path / "temporary" / "podfence-comment.md")}


def test_a_comment_is_replaced_and_one_that_says_the_same_is_left(
    pull: Checkout, tmp_path: Path, github: Comments
) -> None:
    for _ in range(120):
        github.add("something else")
    github.add(f"{MARK}\nquoted by a user", author="User")
    github.add(f"{MARK}\nan older comment")
    github.add("<!-- podfence diff other -->\nof another job")
    for _ in range(2):
        job = run(pull.folder, tmp_path / "temporary", COPIED | {"podfence": PROGRAM}, api=github.url)
    assert github.comments[121]["body"] == job.summary
    assert [item["body"].count("opens") for item in github.comments[120:]] == [0, 1, 0]
    assert [request for request in github.requests if not request.startswith("GET")] == [
        "PATCH /repos/shop/manifests/issues/comments/122"
    ]


def test_a_pull_request_from_a_fork_gets_the_summary_only(pull: Checkout, tmp_path: Path, github: Comments) -> None:
    job = run(pull.folder, tmp_path / "temporary", COPIED | {"podfence": PROGRAM}, api=github.url, fork=True)

    assert (job.code, github.requests) == (0, [])
    assert "opens 1 connection" in job.summary
    assert "No comment: this pull request comes from a fork" in job.log


def test_where_comments_are_refused_the_job_goes_on_and_says_so(pull: Checkout, tmp_path: Path) -> None:
    with Comments(refuses=403) as api:
        job = run(pull.folder, tmp_path / "temporary", COPIED | {"podfence": PROGRAM}, api=api.url)
    assert job.code == 0
    assert "::warning title=podfence::No comment: GitHub answered 403. Does the job have the permission" in job.log


@pytest.mark.parametrize(
    ("inputs", "code", "said"),
    [
        ({"fail-on": "opened", "accept": "accepted.toml"}, 1, "**Failed** on opened."),
        ({"old": "git:nope"}, 2, "### podfence: no answer"),
        (
            {"title": "the shop", "arguments": "-n\nshop\n--set\nworld=closed", "fail-on": "closed"},
            0,
            "<!-- podfence diff the shop -->",
        ),
        ({"filename": ""}, 0, "opens 1 connection"),
    ],
)
def test_inputs_of_the_action_are_those_of_the_command(
    pull: Checkout, tmp_path: Path, github: Comments, inputs: dict[str, str], code: int, said: str
) -> None:
    pull.commit({"accepted.toml": '[[accept]]\nreason = "I say so"\nexpires = 2999-01-01\n'})
    job = run(pull.folder, tmp_path / "temporary", COPIED | {"podfence": PROGRAM} | inputs, api=github.url)

    assert (job.code, job.outputs["exit-code"]) == (code, str(code))
    assert said in job.summary
    assert github.comments[0]["body"] == job.summary


def test_names_of_files_cannot_be_commands(pull: Checkout, tmp_path: Path, github: Comments) -> None:
    pull.commit(
        {
            "manifests/\n::set-env name=PATH::.yaml": "NetworkPolicy: [",
            "manifests/$(touch pwned)`touch pwned`.yaml": "NetworkPolicy: [",
        }
    )
    job = run(pull.folder, tmp_path / "temporary", COPIED | {"podfence": PROGRAM}, api=github.url)

    assert job.code == 2
    assert not list(tmp_path.rglob("pwned"))
    stopped, _, rest = job.log.partition("::stop-commands::")
    token, _, rest = rest.partition("\n")
    between, _, after = rest.partition(f"::{token}::")
    assert "::set-env" in between
    for line in (*stopped.splitlines(), *after.splitlines()):
        assert not line.startswith("::set-env")


@pytest.mark.parametrize("path", ["examples/ci/github.yaml", ".github/workflows/policies.yaml"])
def test_workflows_give_the_action_only_what_it_takes(path: str) -> None:
    workflow = yaml.safe_load((ROOT / path).read_text())
    checkout, podfence = steps(path)

    assert podfence["with"].keys() <= action()["inputs"].keys()
    assert checkout["with"] == {"fetch-depth": 0, "persist-credentials": False}
    # YAML 1.1 reads the key on as true.
    assert "pull_request" in workflow[True]
    assert "pull_request_target" not in workflow[True]
    assert workflow["permissions"] == {"contents": "read", "pull-requests": "write"}


def test_no_input_is_a_part_of_a_script() -> None:
    for step in action()["runs"]["steps"]:
        assert "${{" not in step["run"]
