# SPDX-License-Identifier: Apache-2.0
"""The documentation lists exactly those commands of kubectl that tests type into labs."""

from __future__ import annotations

import pytest

from tests.lab.typed import PAGE, parsed
from tests.lab.versions import replaced, tables


def test_the_table_of_commands_has_what_is_typed() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert replaced(text, tables(())) == text, "run `.venv/bin/python -m tests.lab.versions`"


@pytest.mark.parametrize(
    ("line", "command", "flags"),
    [
        ("get pods", "get", set()),
        ("get pods -oyaml -n x", "get", {"-o yaml", "-n"}),
        ("get pods --output=jsonpath={.a} --namespace x", "get", {"-o jsonpath", "-n"}),
        ("run x -ti --rm --image=a -- sh -c y", "run", {"-i", "-t", "--rm", "--image"}),
        ("create service clusterip x --tcp 1:2", "create service", {"--tcp"}),
        ("create -f x.yaml", "create", {"-f"}),
        ("-n x rollout undo deploy/a", "rollout undo", {"-n"}),
        ("apply view-last-applied pod x", "apply view-last-applied", set()),
        ("wait --for=condition=Ready pod/x", "wait", {"--for condition"}),
    ],
)
def test_a_line_is_read_as_kubectl_reads_it(line: str, command: str, flags: set[str]) -> None:
    assert parsed(line.split()) == (command, flags)
