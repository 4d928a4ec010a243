# SPDX-License-Identifier: Apache-2.0
"""Sessions are read from a page as its reader understands them, and compared without what differs each time."""

from __future__ import annotations

import pytest

from tests.kubernetes.sessions.page import Step, Typed, blocks
from tests.kubernetes.sessions.settled import agrees, lost_output, plain

PAGE = """\
Text.

```console
$ kubectl run web \\
    --image=nginx
pod/web created

$ cat <<EOF | kubectl apply -f -
kind: Pod
---
EOF
pod/x created
$ podfence check a b 80
allowed
```

```sh
$ not a session
```

<!-- not run: needs a beach -->
```console
$ swim
```

<!-- needs: internet -->
```console
$ kubectl run -it test-$RANDOM --image=alpine -- sh
If you don't see a command prompt, try pressing enter.
/ # nc web 80
web open
^C
/ # exit
```
"""


def test_commands_go_on_over_backslashes_and_to_the_end_of_their_documents() -> None:
    first, _ = blocks(PAGE)

    assert first.steps == (
        Step(4, "kubectl run web \\\n    --image=nginx", ("pod/web created",)),
        Step(8, "cat <<EOF | kubectl apply -f -\nkind: Pod\n---\nEOF", ("pod/x created",)),
    )


def test_commands_in_a_pod_belong_to_the_command_that_opened_its_shell() -> None:
    _, second = blocks(PAGE)

    assert second.needs == "internet"
    assert second.steps[0].inside == (Typed(30, "nc web 80", ("web open", "^C")), Typed(33, "exit", ()))


@pytest.mark.parametrize(
    ("shown", "printed"),
    [
        (["<html>", "..."], "<html>\n<head>\n</html>\n"),
        (["..."], ""),
        (["Server: x", "...", "Name: web"], "Server: x\nAddress: y\n\nName: web\n"),
        (["db (10.96.204.248:6379) open", "^C"], "db (10.0.0.7:6379) open\n^Cpunt!\n"),
        (["db (10.96.204.248:6379) open"], "db ([fd00:10:96::1f]:6379) open\n"),
        (["nc: db (10.0.0.1:80): Operation timed out"], "nc: db (10.0.0.2:80): Connection timed out\n"),
        (["web  NodePort  10.96.223.48  <none>  80:31261/TCP  65s"], "web NodePort 10.96.2.4   <none>   80:30001/TCP   0s\n"),
        (["pod/nginx-54c98b4f84-9x2kd  1/1  Running  0  35s"], "pod/nginx-701339712-e0qfq 1/1   Running   0     2m3s\n"),
        (["http.requests=3", "go.cpus=1"], "http.requests=12\ngo.cpus=4\n"),
        (['pod "web" deleted from default namespace'], 'pod "web" deleted\n'),
        (["wget: download timed out"], 'wget: download timed out\npod "test-123" deleted\npod default/test-123 terminated (Error)\n'),
    ],
)  # fmt: skip
def test_what_differs_each_time_does_not_count(shown: list[str], printed: str) -> None:
    assert agrees(shown, printed)


@pytest.mark.parametrize(
    ("shown", "printed"),
    [
        ([], "wget: download timed out\n"),
        (["wget: download timed out"], ""),
        (["wget: download timed out"], "wget: bad address 'web'\n"),
        (["<html>", "..."], "wget: download timed out\n"),
        (["db (10.0.0.1:6379) open"], "db (10.0.0.1:6380) open\n"),
        (["3 packets transmitted, 0 packets received"], "3 packets transmitted, 3 packets received\n"),
        (['pod "web" deleted'], 'pod "db" deleted\n'),
    ],
)
def test_what_differs_in_substance_counts(shown: list[str], printed: str) -> None:
    assert not agrees(shown, printed)


def test_control_sequences_of_a_shell_are_not_output() -> None:
    assert plain("\x1b[6n/ # wget\r\nok\r\n\x1b[J") == "/ # wget\nok\n"


@pytest.mark.parametrize(
    ("command", "shown", "printed", "lost"),
    [
        (
            "kubectl run --rm -it test -- wget web",
            ("wget: timed out",),
            "Session ended, resume using 'kubectl'\n",
            True,
        ),
        ("kubectl run --rm -it test -- wget web", ("wget: timed out",), "Hello\nSession ended, resume using", False),
        ("kubectl run --rm -it test -- true", (), "Session ended, resume using 'kubectl attach'\n", False),
        ("kubectl get pods", ("web",), "", False),
    ],
)
def test_output_is_lost_only_where_a_new_pod_showed_nothing_of_it(
    command: str, shown: tuple[str, ...], printed: str, lost: bool
) -> None:
    assert lost_output(command, shown, printed) is lost
