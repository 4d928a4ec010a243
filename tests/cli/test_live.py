# SPDX-License-Identifier: Apache-2.0
"""The commands that answer, on a live cluster: an API server on loopback.

The tests about waiting start the program. The others ask in this process, which takes a fraction of the time.
"""

from __future__ import annotations

import asyncio
import json
import os
import pty
import re
import shutil
import signal
import ssl
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

import podfence
from podfence.cli.progress import PATIENCE
from podfence.kube.live.resources import RESOURCES, versions
from tests.cli import manifests
from tests.cli.conftest import PROGRAM
from tests.kube.access.kubeconfigs import write
from tests.kube.live.api import PODS, POLICIES, Api, listed, pod, says, status

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from aiohttp import web
    from click.testing import Result

    Program = Callable[..., subprocess.CompletedProcess[str]]

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="certificates are made with openssl")

NODES = RESOURCES["Node"].path
POLICY: dict[str, Any] = yaml.safe_load(manifests.POLICY)
STORED: list[dict[str, Any]] = [
    *(item for item in yaml.safe_load_all(manifests.SHOP) if item["kind"] in RESOURCES),
    POLICY,
    {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n1"}, "status": {"addresses": []}},
]
PLACES = re.compile(r" \((?:<stdin>:\d+|live|spec\.[^)]*)\)")
LINES = re.compile(r"^ +\d+ \|.*\n", re.MULTILINE)


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """Return the paths of a certificate for 127.0.0.1 that vouches for itself, and of its key."""
    folder = tmp_path_factory.mktemp("pki")
    crt, key = str(folder / "crt"), str(folder / "key")
    made = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
    subject = ["-subj", "/CN=api", "-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run([*made, *subject, "-keyout", key, "-out", crt], check=True, capture_output=True)
    return crt, key


@pytest.fixture
def api(pair: tuple[str, str]) -> Iterator[Api]:
    """Serve the shop with its policy."""
    api = Api()
    for kind, resource in RESOURCES.items():
        found = [item for item in STORED if item["kind"] == kind]
        items = [{**item, "metadata": {**item["metadata"], "resourceVersion": "7"}} for item in found]
        api.lists[resource.path] = listed([{**item, "apiVersion": None, "kind": None} for item in items], 7)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*pair)
    with api.in_thread(context):
        yield api


@pytest.fixture(autouse=True)
def kubeconfig(api: Api, pair: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Let KUBECONFIG name two files whose contexts lead to the server: `dev`, `shop` of that namespace, `strange`."""
    server = f"https://127.0.0.1:{api.port}"
    first = write(
        tmp_path / "first",
        current="dev",
        clusters={"c": {"server": server, "certificate-authority": pair[0]}},
        contexts={"dev": {"cluster": "c", "user": "ann"}, "shop": {"cluster": "c", "user": "bob", "namespace": "shop"}},
        users={"ann": {"token": "of-ann"}},
    )
    second = write(
        tmp_path / "second",
        clusters={"strange": {"server": server}},
        contexts={"strange": {"cluster": "strange", "user": "bob"}},
        users={"bob": {"token": "of-bob"}},
    )
    monkeypatch.setenv("KUBECONFIG", os.pathsep.join((first, second)))
    return first


@pytest.fixture
def program(run: Callable[..., Result], monkeypatch: pytest.MonkeyPatch) -> Program:
    """Return a function that runs a command line in this process, with more variables of the environment."""

    def program(*args: str, **environ: str) -> subprocess.CompletedProcess[str]:
        with monkeypatch.context() as patched:
            for name, value in environ.items():
                patched.setenv(name, value)
            result = run(*args)
        return subprocess.CompletedProcess(args, result.exit_code, result.stdout, result.stderr)

    return program


def plain(text: str) -> str:
    """Return an answer without the places of what decided."""
    return LINES.sub("", PLACES.sub("", text))


@pytest.mark.parametrize(
    "question",
    [
        ("list",),
        ("list", "-n", "shop", "-o", "csv"),
        ("list", "--pods"),
        ("list", "-o", "matrix", "-v"),
        ("check", "shop/web", "shop/db", "5432"),
        ("check", "shop/api", "shop/db"),
        ("check", "api", "svc/db", "5432", "-n", "shop"),
        ("check", "shop/web", "shop/nothing"),
        ("explain", "shop/web", "shop/db", "5432"),
        ("explain", "shop/api", "shop/db", "5432", "--set", "hairpin=policy"),
    ],
)
def test_the_answer_is_that_about_a_dump_except_for_places(
    program: Program, run: Callable[..., Result], question: tuple[str, ...]
) -> None:
    dump = json.dumps({"apiVersion": "v1", "kind": "List", "items": STORED}, indent=1)
    live, piped = program(*question), run(*question, "-f", "-", stdin=dump)

    assert (live.returncode, plain(live.stdout), live.stderr) == (piped.exit_code, plain(piped.stdout), piped.stderr)
    assert live.stdout or live.returncode == 2


def test_reasons_name_the_object_where_a_file_had_a_line(program: Program) -> None:
    assert program("check", "shop/api", "shop/db", "5432").stdout == (
        "allowed  shop/deploy/api -> shop/sts/db TCP 5432"
        "   egress: allowed by default (no policy selects shop/deploy/api)"
        " | ingress: allowed by NetworkPolicy shop/db (live) rule 1 (spec.ingress[0])\n"
    )


@pytest.mark.parametrize(
    ("question", "shown"),
    [
        (("api", "db", "5432", "--context", "shop"), "shop/deploy/api -> shop/sts/db"),
        (("api", "db", "5432", "--context", "dev", "-n", "shop"), "shop/deploy/api -> shop/sts/db"),
        (("api", "db", "5432", "--context", "shop", "-n", "default"), "there is no namespace 'default' here"),
        (("api", "db", "5432"), "there is no namespace 'default' here"),
    ],
)
def test_bare_names_are_of_the_namespace_that_is_given_or_else_of_the_contexts(
    program: Program, question: tuple[str, ...], shown: str
) -> None:
    done = program("check", *question)

    assert shown in done.stdout + done.stderr


def test_the_namespace_of_the_context_limits_nothing(program: Program, api: Api) -> None:
    api.lists[PODS]["items"].append(pod("lone", 8, "elsewhere"))

    assert "elsewhere/lone" in program("list", "--context", "shop", "--from", "elsewhere/lone").stdout
    assert "all pods " in program("list", "--context", "shop").stdout


@pytest.mark.parametrize(
    ("options", "headers"),
    [
        ((), {"Authorization": ["Bearer of-ann"]}),
        (("--context", "shop"), {"Authorization": ["Bearer of-bob"]}),
        (("--cluster", "c", "--user", "bob"), {"Authorization": ["Bearer of-bob"]}),
        (
            ("--as", "eve", "--as-group", "g1", "--as-group", "g2", "--as-uid", "7"),
            {
                "Authorization": ["Bearer of-ann"],
                "Impersonate-User": ["eve"],
                "Impersonate-Group": ["g1", "g2"],
                "Impersonate-Uid": ["7"],
            },
        ),
    ],
)
def test_the_options_say_who_asks(
    program: Program, api: Api, options: tuple[str, ...], headers: dict[str, list[str]]
) -> None:
    assert program("list", *options).returncode == 0

    for request in api.requests:
        sent = {
            name: request.headers.getall(name)
            for name in {**headers, "Impersonate-User": []}
            if name in request.headers
        }
        assert sent == headers


def test_a_file_of_its_own_takes_the_place_of_the_variable(program: Program, kubeconfig: str) -> None:
    assert program("list", "--kubeconfig", kubeconfig, KUBECONFIG="missing").returncode == 0
    assert program("list", KUBECONFIG="missing").returncode == 2


def test_files_are_read_in_place_of_the_cluster(program: Program, api: Api, shop: str) -> None:
    assert program("list", "-f", shop).returncode == 0
    assert api.requests == []


def test_an_unknown_authority_is_named_with_the_remedy(program: Program, api: Api) -> None:
    done = program("list", "--context", "strange")

    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(
        f"podfence: error: https://127.0.0.1:{api.port}: its certificate is signed by an authority that is not known here"
    )
    assert done.stderr.count("\n") == 1


def test_a_kind_that_may_not_be_read_is_a_warning_and_the_rest_an_answer(program: Program, api: Api) -> None:
    whole = program("list")
    for _ in range(2):
        api.script[NODES].append(says(status(403, "nodes is forbidden"), 403))
    told, quiet = program("list"), program("list", "-q")

    assert told.stdout == quiet.stdout == whole.stdout
    assert (told.returncode, quiet.stderr) == (0, "")
    assert told.stderr == (
        "nodes: warning: may not be listed, so the answer knows nothing of them (grant it with a ClusterRole rule:"
        ' {apiGroups: [""], resources: ["nodes"], verbs: ["list"]})\n'
    )


def test_without_the_right_to_read_pods_there_is_no_answer(program: Program, api: Api) -> None:
    message = 'pods is forbidden: User "ann" cannot list resource "pods" in API group "" at the cluster scope'
    api.script[PODS].append(says(status(403, message), 403))
    done = program("list")

    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        f"podfence: error: https://127.0.0.1:{api.port}: {message} (grant it with a ClusterRole rule:"
        ' {apiGroups: [""], resources: ["pods"], verbs: ["list"]})\n'
    )


def test_a_policy_that_cannot_be_read_is_named_and_nothing_is_answered(program: Program, api: Api) -> None:
    broken = {"metadata": {"name": "odd", "namespace": "shop", "resourceVersion": "8"}, "spec": {"podSelector": 1}}
    api.lists[POLICIES]["items"].append(broken)
    done = program("list")

    assert (done.returncode, done.stdout) == (2, "")
    first, last = done.stderr.splitlines()
    assert first.startswith("NetworkPolicy shop/odd: error: cannot be read: ")
    assert last == "podfence: error: 1 error; nothing was answered"


def test_old_spellings_of_addresses_that_a_server_has_stored_are_read_with_a_warning(
    program: Program, api: Api
) -> None:
    spec = {"podSelector": {}, "ingress": [{"from": [{"ipBlock": {"cidr": "10.0.0.1/8"}}]}]}
    metadata = {"name": "old", "namespace": "shop", "resourceVersion": "8"}
    api.lists[POLICIES]["items"].append({"metadata": metadata, "spec": spec})
    done = program("check", "10.9.9.9", "shop/api", "80")

    assert done.returncode == 0
    assert done.stderr.startswith("NetworkPolicy shop/old: warning: spec.ingress[0].from[0].ipBlock.cidr: ")


def test_policies_of_an_old_server_have_the_meaning_that_is_chosen(program: Program, api: Api) -> None:
    *_, oldest = versions("NetworkPolicy")
    api.lists[oldest.path] = api.lists.pop(POLICIES)
    question = ("check", "shop/web", "shop/db", "5432")

    assert [program(*question, "--set", f"legacy={value}").returncode for value in ("v1beta1", "v1")] == [0, 1]


async def never(_request: web.Request) -> web.StreamResponse:
    return await asyncio.get_running_loop().create_future()  # type: ignore[no-any-return]


def test_a_server_that_does_not_answer_is_given_up_after_the_timeout(program: Program, api: Api) -> None:
    api.script[PODS].append(never)
    done = program("list", "--request-timeout", "200ms")

    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"podfence: error: https://127.0.0.1:{api.port}: no answer within 0.2 s\n"


def test_an_interrupt_ends_the_wait_for_a_server_at_once(api: Api) -> None:
    api.script[PODS].append(never)
    asking = subprocess.Popen([PROGRAM, "list"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    deadline = time.monotonic() + 120
    while not any(request.path == PODS for request in api.requests):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    asking.send_signal(signal.SIGINT)
    out, err = asking.communicate(timeout=60)

    assert (asking.returncode, out, err.strip()) == (130, b"", b"")


def test_a_slow_server_is_seen_to_be_read_on_a_terminal(api: Api) -> None:
    async def slow(request: web.Request) -> web.StreamResponse:
        await asyncio.sleep(PATIENCE + 0.2)
        return await says(api.lists[POLICIES])(request)

    api.script[POLICIES].append(slow)
    ours, theirs = pty.openpty()
    environ = os.environ | {"TERM": "xterm"}
    asking = subprocess.Popen([PROGRAM, "list"], stdout=subprocess.DEVNULL, stderr=theirs, env=environ)
    os.close(theirs)
    shown = b""
    while b"reading" not in shown:
        shown += os.read(ours, 65536)  # raises when the program has ended without it
    assert asking.wait(timeout=60) == 0
    os.close(ours)


def test_a_kubeconfig_may_be_a_pipe(kubeconfig: str) -> None:
    reading, writing = os.pipe()
    os.write(writing, Path(kubeconfig).read_bytes())
    os.close(writing)

    cluster = podfence.load_live(cluster="c", user="ann", kubeconfig=f"/dev/fd/{reading}", timeout=30)

    os.close(reading)
    assert cluster.check("shop/api", "shop/db", 5432).allowed


def test_in_python_a_live_cluster_is_one_call(kubeconfig: str) -> None:
    cluster = podfence.load_live(context="shop", kubeconfig=kubeconfig, user="ann", timeout=30)

    assert cluster.namespace == "shop"
    assert cluster.check("api", "db", 5432).allowed
    assert cluster.check("web", "db", 5432, namespace="shop").allowed is False
    with pytest.raises(podfence.EndpointError):
        cluster.check("api", "db", 5432, namespace="default")


# What an apply would do


@pytest.mark.parametrize(
    ("policy", "flags", "code", "said"),
    [
        (manifests.POLICY, (), 0, "no "),
        (manifests.POLICY.replace("    ports:\n    - port: 5432\n", ""), (), 1, "opens 1 connection"),
        (manifests.POLICY.replace("name: db,", "name: other,").replace("5432", "1"), (), 1, "opens 1 connection"),
        (manifests.POLICY.replace("name: db,", "name: other,").replace("5432", "1"), ("--prune",), 1, "opens 1 "),
        (manifests.POLICY.replace("name: db,", "name: other,"), ("--prune",), 0, "no connection changes"),
    ],
)
def test_diff_with_manifests_is_what_applying_them_would_change(
    program: Program, tmp_path: Path, policy: str, flags: tuple[str, ...], code: int, said: str
) -> None:
    file = tmp_path / "policy.yaml"
    file.write_text(policy)
    result = program("diff", "live", str(file), *flags)
    assert (result.returncode, result.stdout[: len(said)]) == (code, said), result.stderr
    assert ("closes 1 connection" in result.stdout) is (flags != () and code == 1)


def test_manifests_without_a_namespace_are_applied_to_that_of_the_context(program: Program, tmp_path: Path) -> None:
    file = tmp_path / "policy.yaml"
    file.write_text(manifests.POLICY.replace(", namespace: shop", ""))
    result = program("diff", "live", str(file), "--context", "shop")
    assert (result.returncode, "added" in result.stdout) == (0, False), result.stdout
    assert "default/db" in program("diff", "live", str(file), "--context", "dev").stdout


def test_a_live_cluster_that_may_not_be_listed_is_told_and_not_compared(
    program: Program, api: Api, tmp_path: Path
) -> None:
    file = tmp_path / "policy.yaml"
    file.write_text(manifests.POLICY)
    comment = tmp_path / "comment.md"
    api.script[POLICIES].append(says(status(403, "networkpolicies.networking.k8s.io is forbidden"), 403))
    result = program("diff", "live", str(file), "--write", f"md={comment}")
    assert (result.returncode, result.stdout) == (2, "")
    assert "networkpolicies.networking.k8s.io is forbidden" in result.stderr
    assert "no answer" in comment.read_text()
