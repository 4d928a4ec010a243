# SPDX-License-Identifier: Apache-2.0
"""What a running agent shows: metrics, probes, its status, and why a connection is as it is; with real packets."""

from __future__ import annotations

import json
import os
import shutil
import socket
import stat
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

from podfence.agent.node import client, metrics, serving, why
from podfence.agent.node.answer import AgentStatus, Why
from podfence.agent.node.client import NoAgentError
from podfence.agent.node.findings import NodeFinding, uncut
from podfence.agent.node.serving import Serving, ServingError, address
from podfence.agent.source import Attached, Bookmark, Synced, Verify
from podfence.cli.main import commands
from podfence.cluster.state import Event, EventType
from podfence.dataplane.links import Links, PodLink
from podfence.errors import PodfenceError
from podfence.kube.live.reflector import Health
from podfence.kube.objects import Node, Peer, PolicyPort
from podfence.nft.process import NftRunner
from podfence.sets.addresses import parse_address
from tests.agent.live import added, deleted
from tests.agent.node.running import PATIENCE, Running
from tests.dataplane.network import Network, Probe
from tests.policy.parts import app, pod, policy, rule, space

if TYPE_CHECKING:
    from collections.abc import Iterator

    from click.testing import Result

    from podfence.kube.objects import KubeObject

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or not all(map(shutil.which, ("nft", "ip", "unshare", "nsenter"))),
    reason="needs root, nft, iproute2 and util-linux",
)

NODE = Node(name="n1", labels={}, addresses=("172.18.0.1",), pod_cidrs=("10.0.0.0/24",))
WEB = pod("web", "10.0.0.1", node="n1")
DB = pod("db", "10.0.0.2", node="n1")
API = pod("api", "10.0.0.3", node="n1")
FAR = pod("far", "10.0.1.1", node="n2")
DB_POLICY = policy("db", app("db"), ingress=[rule(Peer(pod_selector=app("api")), ports=[PolicyPort("TCP", 80)])])
OBJECTS: tuple[KubeObject, ...] = (space("shop"), NODE, WEB, DB, API, FAR, DB_POLICY)
DENIED = Probe("tcp", "10.0.0.1", "10.0.0.2", 80)
ALLOWED = Probe("tcp", "10.0.0.3", "10.0.0.2", 80)
DROPPED = 'podfence_dropped_packets_total{direction="ingress"}'


SOUND = Health("Pod", listed=True, connected=True)
OTHER = SOUND._replace(kind="Namespace")


@pytest.fixture(scope="module")
def network() -> Iterator[Network]:
    with Network(("172.18.0.1",), (("10.0.0.1",), ("10.0.0.2",), ("10.0.0.3",))) as found:
        yield found


@pytest.fixture
def running(network: Network, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Running]:
    # Every look at the counters is a fresh one.
    monkeypatch.setattr(metrics, "AGAIN", 0.0)
    with Running(NftRunner(prefix=network.prefix), tmp_path) as found:
        yield found
    network.forget()


@pytest.fixture
def enforcing(running: Running) -> Running:
    running.send(*added(OBJECTS), Bookmark(1), Synced())
    running.enforced(1)
    return running


def ask(running: Running, *words: str) -> Result:
    return CliRunner().invoke(commands, [*words, "--socket", str(running.socket)])


def documents(result: Result) -> dict[str, Any]:
    found = json.loads(result.stdout)
    assert isinstance(found, dict)
    return found


# Probes


def test_readiness_waits_until_the_first_complete_list_is_in_the_kernel(running: Running) -> None:
    running.source_name = "waiting"
    running.health = (Health("Pod", error="connection refused"), OTHER)
    assert running.get("/readyz") == (503, "not ready: not-enforcing\n")
    code, text = running.get_here("/readyz")
    assert code == 503
    assert text.splitlines() == [
        "not ready: waiting for the first complete list of Pod",
        "not ready: Pod: connection refused",
    ]
    assert running.metric("podfence_ready") == running.metric("podfence_enforcing") == 0
    running.source_name = "live"
    running.send(*added(OBJECTS), Bookmark(1), Synced())
    running.enforced(1)
    assert running.get("/readyz") == (200, "ok\n")
    assert running.metric("podfence_ready") == running.metric("podfence_enforcing") == 1


def test_a_fatal_finding_is_not_ready_and_a_warning_is(enforcing: Running) -> None:
    enforcing.findings = (NodeFinding("warning", "old-nft", "nft is old", "install a newer one"),)
    assert enforcing.get("/readyz")[0] == 200
    enforcing.findings += (NodeFinding("fatal", "rival", "another program enforces", "remove it"),)
    assert enforcing.get_here("/readyz") == (503, "not ready: another program enforces; remove it\n")
    assert enforcing.get("/readyz") == (503, "not ready: rival\n")
    assert 'podfence_findings{severity="fatal"} 1.0' in enforcing.get("/metrics")[1]
    verbose = enforcing.get_here("/readyz?verbose")[1]
    assert "warning old-nft: nft is old; install a newer one\n" in verbose
    assert "source: live\n" in verbose


@pytest.mark.parametrize(
    ("count", "says"),
    [
        (1, "an established connection continues although policies deny it: "),
        (3, "3 established connections continue although policies deny them: "),
    ],
)
def test_connections_that_cannot_be_cut_are_a_reason_not_to_be_ready(enforcing: Running, count: int, says: str) -> None:
    assert uncut(0) == ()
    enforcing.findings = uncut(count)
    assert enforcing.get("/readyz") == (503, "not ready: flows-uncut\n")
    assert enforcing.get_here("/readyz")[1].startswith(f"not ready: {says}")


def test_nothing_that_names_objects_is_on_the_port_that_everybody_reaches(enforcing: Running) -> None:
    finding = NodeFinding("fatal", "pod-bypasses-node", "no interface leads to pod shop/secret", "use another plugin")
    enforcing.findings = (finding,)
    for path in ("/readyz", "/readyz?verbose", "/metrics", "/livez"):
        assert "secret" not in enforcing.get(path)[1]
    for path in ("/status", "/why?source=a&destination=b"):
        assert enforcing.get(path)[0] == 404


def test_liveness_ends_with_a_loop_that_does_not_come_round(enforcing: Running) -> None:
    assert enforcing.get("/livez") == (200, "ok\n")
    enforcing.serving._clock = lambda: enforcing.source.beat + 91
    code, text = enforcing.get("/livez")
    assert (code, text) == (503, "the event loop has not run for 91 s\n")


# Metrics


def test_metrics_count_what_is_programmed_and_how_long_it_took(enforcing: Running) -> None:
    assert enforcing.metric("podfence_programmed_pods") == 3
    assert enforcing.metric("podfence_programmed_policies") == enforcing.metric("podfence_groups") == 1
    assert enforcing.metric('podfence_event_to_kernel_seconds_count{kind="Pod"}') == 3
    assert enforcing.metric('podfence_event_to_kernel_seconds_count{kind="NetworkPolicy"}') == 1
    assert enforcing.metric('podfence_build_info{version="1.2.3"}') == 1
    assert enforcing.metric("process_resident_memory_bytes") > 0
    for item in (WEB, DB, API):
        assert item.name not in enforcing.get("/metrics")[1]


def test_metrics_tell_of_watches_by_kind(enforcing: Running) -> None:
    enforcing.health = (
        SOUND._replace(failures=2, relists=1),
        OTHER._replace(connected=False, error="gone"),
    )
    assert enforcing.metric('podfence_watch_connected{kind="Pod"}') == 1
    assert enforcing.metric('podfence_watch_connected{kind="Namespace"}') == 0
    assert enforcing.metric('podfence_watch_failures_total{kind="Pod"}') == 2
    assert enforcing.metric('podfence_watch_relists_total{kind="Pod"}') == 1


def test_dropped_packets_are_counted_and_never_go_back_when_groups_go(enforcing: Running, network: Network) -> None:
    assert enforcing.metric(DROPPED) == 0
    assert network.passed({DENIED: False, ALLOWED: True}) == {DENIED: False, ALLOWED: True}
    before = enforcing.metric_of_at_least(DROPPED, 1)
    enforcing.send(deleted(DB_POLICY), Bookmark(2))
    enforcing.enforced(2)
    assert enforcing.metric(DROPPED) == before
    enforcing.send(*added([DB_POLICY]), Bookmark(3))
    enforcing.enforced(3)
    assert enforcing.metric(DROPPED) == before
    assert network.passed({DENIED: False}) == {DENIED: False}
    assert enforcing.metric_of_at_least(DROPPED, before + 1) > before
    assert enforcing.metric('podfence_dropped_packets_total{direction="egress"}') == 0


def test_repairs_are_counted_and_metrics_live_without_a_table(enforcing: Running, network: Network) -> None:
    network.forget()
    assert enforcing.get("/metrics")[0] == 200
    enforcing.send(Verify())
    enforcing.until(lambda report: report.drift)
    assert enforcing.metric("podfence_drift_repairs_total") == 1


# Servers


def test_status_and_why_are_for_the_own_user_alone(enforcing: Running) -> None:
    assert enforcing.get("/status")[0] == enforcing.get("/why?source=shop/web&destination=shop/db")[0] == 404
    assert stat.S_IMODE(enforcing.socket.stat().st_mode) == 0o600


def test_an_address_in_use_is_said_with_the_remedy(enforcing: Running, tmp_path: Path) -> None:
    other = Serving(enforcing.view, enforcing.metrics, "1.2.3")
    listen = f"127.0.0.1:{enforcing.serving.port}"
    with pytest.raises(ServingError, match=f"cannot listen on {listen}: the address is in use; --listen"):
        enforcing.do(other.start(listen, tmp_path / "other.sock"))


def test_a_second_agent_on_a_node_is_refused_and_the_first_goes_on(enforcing: Running) -> None:
    other = Serving(enforcing.view, enforcing.metrics, "1.2.3")
    with pytest.raises(ServingError, match="another agent answers at"):
        enforcing.do(other.start("127.0.0.1:0", enforcing.socket))
    assert ask(enforcing, "agent", "status").exit_code == 0


def test_the_socket_of_a_dead_agent_is_replaced_and_goes_with_its_own(network: Network, tmp_path: Path) -> None:
    running = Running(NftRunner(prefix=network.prefix), tmp_path)
    running.socket.parent.mkdir()
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(running.socket))
    with running:
        assert ask(running, "agent", "status").exit_code == 1
    assert not running.socket.exists()


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("0.0.0.0:9474", ("0.0.0.0", 9474)),
        ("[::1]:1", ("::1", 1)),
        ("fd00::1:9474", ("fd00::1", 9474)),
        (":80", (None, 80)),
    ],
)
def test_addresses_to_listen_on(text: str, found: tuple[str | None, int]) -> None:
    assert address(text) == found


@pytest.mark.parametrize("text", ["9474", "a:b:9474", "a:b", "a:65536", ""])
def test_what_is_no_address_to_listen_on_is_refused(text: str) -> None:
    with pytest.raises(ServingError, match="write ADDRESS:PORT"):
        address(text)


def test_monitoring_and_probes_do_not_wait_for_a_busy_loop_and_questions_not_for_ever(
    enforcing: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(why, "PATIENCE", 0.5)
    release = threading.Event()
    busy = enforcing.view.ask(release.wait)
    try:
        with ThreadPoolExecutor(4) as people:
            asked = [
                people.submit(
                    lambda: client.ask(enforcing.socket, "why", Why, source="shop/web", destination="shop/db")
                )
                for _ in range(4)
            ]
            for path in ("/livez", "/readyz", "/metrics"):
                assert enforcing.get(path)[0] == 200
            for item in asked:
                with pytest.raises(PodfenceError, match="the agent did not answer within"):
                    item.result()
    finally:
        release.set()
    assert busy.result(PATIENCE)
    assert ask(enforcing, "why", "shop/web", "shop/db", "80").exit_code == 1


def test_somebody_who_may_not_ask_is_told_so() -> None:
    nobody = 65534
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        with serving._own_socket(folder / "agent.sock") as listening:
            listening.listen()
            os.seteuid(nobody)
            try:
                with pytest.raises(NoAgentError, match="answers only the user that it runs as: try again as root"):
                    client.ask(folder / "agent.sock", "status", AgentStatus)
            finally:
                os.seteuid(0)


# agent status


def test_status_says_what_is_enforced_from_where_and_what_is_wrong(enforcing: Running) -> None:
    enforcing.health = (
        SOUND._replace(events=7),
        OTHER._replace(connected=False, error="timed out", failures=3),
    )
    enforcing.findings = (NodeFinding("warning", "old-nft", "nft is old", "install a newer one"),)
    result = ask(enforcing, "agent", "status")
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert lines[:7] == [
        "node         n1",
        "version      1.2.3",
        "started      2027-01-15T08:00:00Z",
        "ready        yes",
        "enforcing    yes",
        "source       the API server, since 2027-01-15T08:00:01Z",
        "programmed   3 pods, 1 policy, 1 group of pods",
    ]
    assert lines[7] == "links        0 pods bound, 0 not, 0 exempt; stray packets dropped: none"
    assert lines[8] == "dropped      0 egress, 0 ingress, 0 of unknown pods, 0 of cut flows (packets)"
    assert lines[9].startswith("last change  2027-01-15T08:01:00Z ")
    assert "Namespace   0        3          0         not connected: timed out" in lines
    assert lines[-2:] == ["warning old-nft: nft is old", "  install a newer one"]


def test_status_as_json_is_a_document(enforcing: Running) -> None:
    found = json.loads(ask(enforcing, "agent", "status", "-o", "json").stdout)
    assert (found["kind"], found["pods"], found["ready"]) == ("AgentStatus", 3, True)


@pytest.mark.parametrize(
    ("question", "code", "answer"),
    [
        ("Pod=7&Namespace=3&seconds=30", 200, {"reached": True, "enforcing": True}),
        ("Pod=8&seconds=0.02", 200, {"reached": False, "enforcing": True}),
        ("Secret=1&seconds=0.02", 200, {"reached": False, "enforcing": True}),
        ("Pod=new&seconds=30", 400, {"error": "invalid literal for int() with base 10: 'new'"}),
    ],
)
def test_who_waits_for_a_revision_is_told_whether_the_kernel_has_it(
    enforcing: Running, question: str, code: int, answer: dict[str, object]
) -> None:
    enforcing.revisions = {"Pod": "7", "Namespace": "10", "NetworkPolicy": ""}
    found, body = enforcing.get_here(f"/settled?{question}")
    assert (found, json.loads(body)) == (code, answer)


def test_status_of_an_agent_that_is_not_ready_says_why(running: Running) -> None:
    running.source_name = "waiting"
    running.health = (SOUND._replace(listed=False),)
    result = ask(running, "agent", "status")
    assert result.exit_code == 1
    assert "ready       no\n            waiting for the first complete list of Pod\n" in result.stdout


def test_where_no_agent_is_commands_say_so(tmp_path: Path) -> None:
    for words in (("agent", "status"), ("why", "a", "b")):
        result = CliRunner().invoke(commands, [*words, "--socket", str(tmp_path / "none")])
        assert result.exit_code == 2
        assert f"no agent answers at {tmp_path}/none" in result.stderr


# why


def test_why_shows_the_engine_beside_the_counters_of_the_kernel(enforcing: Running, network: Network) -> None:
    assert network.passed({DENIED: False, ALLOWED: True}) == {DENIED: False, ALLOWED: True}
    denied = ask(enforcing, "why", "shop/web", "shop/db", "80", "-o", "json")
    assert denied.exit_code == 1, denied.output
    found = documents(denied)
    assert (found["kind"], found["differs"], found["notes"]) == ("Why", False, [])
    (connection,) = found["connections"]
    egress, ingress = connection["sides"]
    assert (egress["policies"], egress["engine"], egress["program"]) == ([], "TCP 80", "TCP 80")
    assert ingress["policies"] == ["NetworkPolicy shop/db"]
    assert (ingress["engine"], ingress["program"]) == ("no port", "no port")
    assert ingress["deniedPackets"] >= 1
    allowed = ask(enforcing, "why", "api", "db", "80", "-n", "shop", "-o", "json")
    assert allowed.exit_code == 0
    (rules,) = [side["rules"] for item in documents(allowed)["connections"] for side in item["sides"] if side["rules"]]
    assert rules == [{"rule": "NetworkPolicy shop/db rule 1", "ports": "TCP 80", "packets": 1}]


def test_why_in_words(enforcing: Running) -> None:
    result = ask(enforcing, "why", "shop/api", "shop/db", "80")
    assert result.stdout.splitlines()[1:] == [
        "",
        "shop/api (10.0.0.3) -> shop/db (10.0.0.2) TCP 80",
        "  egress, judged here at its source shop/api (10.0.0.3)",
        "    engine admits TCP 80; the node's program admits TCP 80",
        "  ingress, judged here at its destination shop/db (10.0.0.2)",
        "    isolated by NetworkPolicy shop/db",
        "    engine admits TCP 80; the node's program admits TCP 80",
        "    0 packets admitted by NetworkPolicy shop/db rule 1 (TCP 80)",
        f"    0 packets denied by chain deny_{_chain(enforcing)}",
        "",
        "the kernel of node n1 has what the engine says",
    ]


def test_why_says_what_becomes_of_packets_with_the_address_of_another(enforcing: Running, network: Network) -> None:
    web = PodLink("veth1", "cni0", "0a:58:0a:00:00:01", (parse_address("10.0.0.1"),), "shop/web")
    api = PodLink("cali1", "", "", (parse_address("10.0.0.3"),), "shop/api", exempt=True)
    enforcing.send(Attached(Links((web, api))), Bookmark(9))
    enforcing.enforced(9)
    (note,) = documents(ask(enforcing, "why", "shop/web", "shop/db", "80", "-o", "json"))["notes"]
    assert note == (
        "what shop/web sends by port veth1 of bridge cni0 with another source than 10.0.0.1 is dropped as "
        "unknown-source by table bridge podfence, before any policy is asked"
    )
    assert documents(ask(enforcing, "why", "shop/api", "shop/db", "80", "-o", "json"))["notes"] == [
        "shop/api may send with any address: its namespace is exempt on this node (--unbound-namespace)"
    ]
    assert documents(ask(enforcing, "why", "shop/db", "shop/web", "80", "-o", "json"))["notes"] == [
        "shop/db is not bound to a link: it can send with any source address, also that of another pod"
    ]
    enforcing.serving._view = replace(enforcing.view, binding="off")
    assert documents(ask(enforcing, "why", "shop/web", "shop/db", "80", "-o", "json"))["notes"] == []


def _chain(running: Running) -> str:
    (name,) = [item for item in running.agent.enforcer.wanted.chains if item.startswith("i_shop_db_")]  # type: ignore[union-attr]
    return name


@pytest.mark.parametrize(
    ("script", "told"),
    [
        ("delete element inet podfence in4 { 10.0.0.2 }", "in4 has no 10.0.0.2"),
        ("delete element inet podfence known4 { 10.0.0.2 }", "known4 has no 10.0.0.2"),
        ("flush chain inet podfence forward", "chain forward has other rules"),
        ("insert rule inet podfence forward accept", "chain forward has other rules"),
        ("flush chain inet podfence CHAIN", "chain i_shop_db_"),
        ("delete element inet podfence CHAIN_p4 { 10.0.0.3 }", "_p4 has no 10.0.0.3 (jump pc_"),
        ("add chain inet podfence theirs { type filter hook forward priority -9; }", "chain theirs at the forward hook is not ours"),
        ("delete table inet podfence", "the kernel has no table inet podfence"),
    ],
)  # fmt: skip
def test_why_tells_where_the_kernel_differs(enforcing: Running, network: Network, script: str, told: str) -> None:
    network.nft(script.replace("CHAIN", _chain(enforcing)))
    result = ask(enforcing, "why", "shop/api", "shop/db", "80")
    assert told in result.output
    assert result.exit_code == (2 if "delete table" in script else 4)


def test_what_differs_elsewhere_in_the_table_is_not_of_this_connection(enforcing: Running, network: Network) -> None:
    network.nft(f"delete element inet podfence {_chain(enforcing)}_p4 {{ 10.0.0.3 }}")
    assert ask(enforcing, "why", "shop/web", "shop/db", "80").exit_code == 1


@pytest.mark.parametrize(
    ("question", "code", "told"),
    [
        (("shop/far", "shop/db", "80"), 1, "the kernel of node n1 has what the engine says"),
        (("shop/web", "internet", "443"), 0, "has what the engine says"),
        (("shop/web", "8.8.8.8"), 0, "has what the engine says"),
        (("node:n1", "shop/db", "80"), 0, "has what the engine says"),
        (("shop/web", "node:n1", "80"), 0, "has what the engine says"),
        (("203.0.113.0/24", "shop/db"), 1, "has what the engine says"),
        (("shop/api", "shop/db"), 3, "has what the engine says"),
        (("shop/web", "shop/web", "80"), 0, "note: packets from a pod to itself do not pass the kernel's table"),
        (("shop/far", "shop/far", "80"), 0, "nothing to compare"),
        (("shop/far", "9.9.9.9", "80"), 0, "note: neither end is a pod of node n1"),
        (("shop/none", "shop/db", "80"), 2, "there is no pod or workload shop/none"),
        (("shop/web", "shop/db", "x!"), 2, "write a number, a range"),
        (("shop/web", "shop/svc/db", "80"), 2, "does not watch Services"),
    ],
)
def test_why_takes_all_endpoints(enforcing: Running, question: tuple[str, ...], code: int, told: str) -> None:
    result = ask(enforcing, "why", *question)
    assert told in result.output
    assert result.exit_code == code, result.output


def test_why_before_the_first_list_says_so(running: Running) -> None:
    result = ask(running, "why", "shop/web", "shop/db")
    assert result.exit_code == 2
    assert "it is waiting for the first complete lists" in result.stderr


def test_answers_are_exact_while_policies_change(enforcing: Running) -> None:
    for revision in range(2, 22):
        event = EventType.DELETED if revision % 2 == 0 else EventType.ADDED
        enforcing.send(Event(event, DB_POLICY), Bookmark(revision))
        result = ask(enforcing, "why", "shop/web", "shop/db", "80")
        assert result.exit_code in {0, 1}, result.output


def test_a_question_about_many_pods_says_how_many_were_left_out(
    enforcing: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(why, "MOST", 2)
    result = ask(enforcing, "why", "0.0.0.0/0", "shop/db")
    assert result.exit_code == 1, result.output
    assert "more connections were not looked up: ask about single pods" in result.output
