# SPDX-License-Identifier: Apache-2.0
"""Who may ask, what is not served, and what is done with broken requests."""

from __future__ import annotations

import base64
import json
import socket
import ssl
import threading
from typing import TYPE_CHECKING, Any

import pytest

from podfence.errors import PodfenceError
from podfence.lab.addresses import Plan
from podfence.lab.apiserver import certificates
from podfence.lab.apiserver.bodies import LIMIT
from podfence.lab.objects.world import World
from podfence.lab.store.resources import RESOURCES
from tests.lab.apiserver.serving import TOKEN, Served, make_certificates, served

if TYPE_CHECKING:
    from collections.abc import Iterator

POLICIES = "/apis/networking.k8s.io/v1/namespaces/default/networkpolicies"


@pytest.fixture(scope="module")
def server() -> Iterator[Served]:
    with served() as found:
        yield found


def policy(name: str) -> dict[str, Any]:
    return {"metadata": {"name": name}, "spec": {"podSelector": {}}}


@pytest.mark.parametrize("path", ["/", "/version", "/healthz", "/api", "/apis", "/openapi/v3", POLICIES, "/nope"])
@pytest.mark.parametrize("token", ["", "wrong", f"{TOKEN}x"])
def test_nothing_is_answered_without_the_token(server: Served, path: str, token: str) -> None:
    reply = server.client.send("GET", path, token=token)
    assert (reply.code, reply.body["reason"]) == (401, "Unauthorized")


def token(text: str) -> str:
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


MANY = "9" * 5000
INFINITE = '{"rv":1e999,"start":"/a"}'


@pytest.mark.parametrize(
    ("method", "query"),
    [
        ("GET", f"limit={MANY}"),
        ("GET", "limit=1_0"),
        ("GET", f"resourceVersion={MANY}"),
        ("GET", f"continue={token(INFINITE)}"),
        ("GET", f"continue={token('[' * 3000)}"),
        ("DELETE", f"gracePeriodSeconds={MANY}"),
        ("DELETE", "gracePeriodSeconds=1_0"),
    ],
)  # fmt: skip
def test_a_number_that_is_none_is_refused_in_a_query(server: Served, method: str, query: str) -> None:
    name = "/none" if method == "DELETE" else ""
    assert server.client.send(method, f"{POLICIES}{name}?{query}").code == 400


@pytest.mark.parametrize("scheme", ["Basic {}", "{}", "Bearer", ""])
def test_the_token_is_a_bearer_token(server: Served, scheme: str) -> None:
    reply = server.client.send("GET", "/version", headers={"Authorization": scheme.format(TOKEN)})
    assert reply.code == 401


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1", "127.0.0.1:1", "localhost.evil.example:{port}", ""])
def test_another_host_is_refused(server: Served, host: str) -> None:
    reply = server.client.send("GET", "/version", headers={"Host": host.format(port=server.port)})
    assert reply.code == 403


@pytest.mark.parametrize("host", ["127.0.0.1:{port}", "localhost:{port}"])
def test_the_loopback_address_is_answered(server: Served, host: str) -> None:
    assert server.client.send("GET", "/version", headers={"Host": host.format(port=server.port)}).code == 200


def test_a_web_page_is_refused_and_no_page_may_read(server: Served) -> None:
    reply = server.client.send("GET", "/version", headers={"Origin": "https://evil.example"})
    assert reply.code == 403
    assert not any(key.lower().startswith("access-control") for key in reply.headers)


@pytest.mark.parametrize(
    ("path", "sentence"),
    [
        ("/api/v1/namespaces/default/pods/p/portforward", "do not forward ports"),
        ("/api/v1/namespaces/default/pods/p/proxy", "do not proxy"),
        ("/api/v1/namespaces/default/pods/p/eviction", "do not evict"),
        ("/api/v1/namespaces/default/serviceaccounts/default/token", "make no tokens"),
        ("/api/v1/persistentvolumes", ""),
        ("/apis/autoscaling/v2/namespaces/default/horizontalpodautoscalers", ""),
    ],
)
def test_what_is_not_served_is_404_with_a_sentence(server: Served, path: str, sentence: str) -> None:
    reply = server.client.send("GET", path)
    assert reply.code == 404
    assert sentence in reply.body["message"]


@pytest.mark.parametrize(
    ("body", "content_type", "code"),
    [
        (b"", "application/json", 400),
        (b"null", "application/json", 422),
        (b"[]", "application/json", 400),
        (b'"text"', "application/json", 400),
        (b"{", "application/json", 400),
        (b"\xff\xfe{}", "application/json", 400),
        (b'{"metadata": {"name": "a"}, "spec": NaN}', "application/json", 400),
        (b"[" * 100_000, "application/json", 400),
        (b'{"metadata":' * 5_000, "application/json", 400),
        (b"{a: &x [*x]}", "application/yaml", 400),
        (b"\t", "application/yaml", 400),
        (b"k8s\x00", "application/vnd.kubernetes.protobuf", 400),
        (b"k8s\x00\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", "application/vnd.kubernetes.protobuf", 400),
        (b"nope", "application/vnd.kubernetes.protobuf", 400),
        (b"{}", "text/plain", 415),
        (b'{"metadata": 1}', "application/json", 400),
        (b'{"metadata": {"labels": {"a": 1}}}', "application/json", 400),
        (b'{"kind": 1}', "application/json", 400),
        (b'{"metadata": {"name": "\\ud800"}}', "application/json", 422),
    ],
)
def test_a_broken_body_is_refused(server: Served, body: bytes, content_type: str, code: int) -> None:
    reply = server.client.send("POST", POLICIES, body, headers={"Content-Type": content_type})
    assert (reply.code, reply.body["kind"]) == (code, "Status"), reply.body


def test_a_body_over_the_limit_is_refused_before_it_is_read(server: Served) -> None:
    reply = server.client.send("POST", POLICIES, b"x" * (LIMIT + 1))
    assert reply.code == 413
    assert str(LIMIT) in reply.body["message"]
    # The same client goes on with another connection.
    assert server.client.send("GET", "/version").code == 200


def test_of_many_conflicting_updates_one_succeeds(server: Served) -> None:
    made = server.client.send("POST", POLICIES, policy("contended")).body
    codes: list[int] = []

    def write(number: int) -> None:
        other = {**made, "metadata": {**made["metadata"], "labels": {"by": str(number)}}}
        client = type(server.client)(server.port, server.client._authority)
        codes.append(client.send("PUT", f"{POLICIES}/contended", other).code)
        client.close()

    threads = [threading.Thread(target=write, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(codes) == [200] + [409] * 7


@pytest.mark.parametrize("field", ["\x1f", "\n", "\u2028", "\ud8e8", "\x7f", "ü", '"', "\\"])
def test_a_field_with_any_name_is_warned_of(server: Served, field: str) -> None:
    reply = server.client.send("POST", f"{POLICIES}?dryRun=All", {**policy("odd"), field: 1})
    assert reply.code == 201
    (warning,) = reply.warnings
    assert warning.startswith('299 - "unknown field ')


@pytest.mark.parametrize(
    ("length", "count", "warnings"), [(10, 5, 5), (5000, 1, 1), (300, 40, 16), (1, 300, 80), (20, 300, 80)]
)
def test_of_many_warnings_the_first_are_sent(server: Served, length: int, count: int, warnings: int) -> None:
    fields = {f"{number:0{length}}": 1 for number in range(count)}
    reply = server.client.send("POST", f"{POLICIES}?dryRun=All", {**policy("odd"), **fields})
    assert (reply.code, len(reply.warnings)) == (201, warnings)


def test_a_dry_run_changes_nothing(server: Served) -> None:
    server.client.send("POST", POLICIES, policy("kept"))
    before = (server.store.revision, server.store.list("networkpolicies.networking.k8s.io"))
    merge = {"Content-Type": "application/merge-patch+json"}
    assert server.client.send("POST", f"{POLICIES}?dryRun=All", policy("new")).code == 201
    assert (
        server.client.send("PUT", f"{POLICIES}/kept?dryRun=All", {**policy("kept"), "spec": {"egress": [{}]}}).code
        == 200
    )
    labels = {"metadata": {"labels": {"a": "b"}}}
    assert server.client.send("PATCH", f"{POLICIES}/kept?dryRun=All", labels, headers=merge).code == 200
    assert server.client.send("DELETE", f"{POLICIES}/kept?dryRun=All").code == 200
    assert server.client.send("DELETE", f"{POLICIES}?dryRun=All").code == 200
    assert (server.store.revision, server.store.list("networkpolicies.networking.k8s.io")) == before


def test_an_object_of_the_old_group_is_the_same_object(server: Served) -> None:
    old = POLICIES.replace("networking.k8s.io/v1", "extensions/v1beta1")
    body = {"apiVersion": "extensions/v1beta1", "kind": "NetworkPolicy", **policy("old")}
    assert server.client.send("POST", old, body).body["apiVersion"] == "extensions/v1beta1"
    assert server.client.get(f"{POLICIES}/old")["apiVersion"] == "networking.k8s.io/v1"
    assert server.client.get(f"{old}/old")["apiVersion"] == "extensions/v1beta1"


def test_the_status_of_an_object_is_written_through_its_own_path(server: Served) -> None:
    pods = "/api/v1/namespaces/default/pods"
    pod: dict[str, Any] = {"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    pod["status"] = {"phase": "Running"}
    assert server.client.send("POST", pods, pod).body["status"]["phase"] == "Pending"
    merge = {"Content-Type": "application/merge-patch+json"}
    change = {"status": {"phase": "Running"}, "metadata": {"labels": {"a": "b"}}, "spec": {"hostNetwork": True}}
    found = server.client.send("PATCH", f"{pods}/p/status", change, headers=merge).body
    # The metadata belongs to both paths, the spec does not.
    assert (found["status"]["phase"], found["metadata"]["labels"]) == ("Running", {"a": "b"})
    assert "hostNetwork" not in found["spec"]
    found = server.client.send("PATCH", f"{pods}/p", {"status": {"phase": "Failed"}}, headers=merge).body
    assert found["status"]["phase"] == "Running"


@pytest.mark.parametrize(("replicas", "code"), [(3, 200), (0, 200), (-1, 422), ("x", 422)])
def test_a_workload_is_scaled_through_its_scale(server: Served, replicas: object, code: int) -> None:
    path = "/apis/apps/v1/namespaces/default/deployments"
    template = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    spec = {"selector": {"matchLabels": {"a": "b"}}, "template": template}
    server.client.send("POST", path, {"metadata": {"name": "d"}, "spec": spec})
    merge = {"Content-Type": "application/merge-patch+json"}
    reply = server.client.send("PATCH", f"{path}/d/scale", {"spec": {"replicas": replicas}}, headers=merge)
    assert reply.code == code
    if code == 200:
        assert server.client.get(f"{path}/d")["spec"]["replicas"] == replicas
        assert server.client.get(f"{path}/d/scale")["status"] == {"replicas": 0, "selector": "a=b"}


def test_pages_of_a_list_are_the_whole_list(server: Served) -> None:
    for number in range(7):
        server.client.send("POST", "/api/v1/namespaces/kube-system/configmaps", {"metadata": {"name": f"m{number}"}})
    names: list[str] = []
    token = ""
    sizes = []
    while True:
        found = server.client.get(f"/api/v1/configmaps?limit=3&continue={token}")
        sizes.append(found["metadata"].get("remainingItemCount"))
        names += [item["metadata"]["name"] for item in found["items"]]
        token = found["metadata"].get("continue", "")
        if not token:
            break
    assert names == [f"m{number}" for number in range(7)]
    assert sizes == [4, 1, None]


def test_a_service_keeps_its_address_and_gets_no_other() -> None:
    services = "/api/v1/namespaces/default/services"
    with served(World(Plan(), 1).store) as server:
        body: dict[str, Any] = {"metadata": {"name": "s"}, "spec": {"ports": [{"port": 80}]}}
        made = server.client.send("POST", services, body).body
        address = made["spec"]["clusterIP"]
        assert address.startswith("10.96.")
        # Who applies a manifest without the address keeps it, and who names another is refused.
        assert server.client.send("PUT", f"{services}/s", body).body["spec"]["clusterIPs"] == [address]
        other = {**body, "spec": {**body["spec"], "clusterIP": "10.96.0.10"}}
        refused = server.client.send("PUT", f"{services}/s", other)
        why = 'spec.clusterIPs[0]: Invalid value: ["10.96.0.10"]: may not change once set'
        assert (refused.code, refused.body["message"]) == (422, f'Service "s" is invalid: {why}')


def test_an_object_of_any_kind_without_a_name_is_refused() -> None:
    with served(World(Plan(), 1).store) as server:
        for row in RESOURCES.values():
            place = f"{'apis' if row.group else 'api'}/{row.api_version}{'/namespaces/default' * row.namespaced}"
            reply = server.client.send("POST", f"/{place}/{row.plural}", {})
            assert reply.code in (403, 422), (row.key, reply.body)


def test_stopping_ends_watches_and_frees_the_port() -> None:
    with served() as server:
        with server.client.watch("/api/v1/pods?watch=1") as events:
            server.serving.stop()
            assert list(events) == []
        with pytest.raises(OSError):
            server.client.send("GET", "/version")


def test_answers_are_json_that_others_can_read(server: Served) -> None:
    assert json.loads(json.dumps(server.client.get("/openapi/v3/api/v1")))["openapi"] == "3.0.0"
    assert server.client.send("GET", f"{POLICIES}?pretty=1", headers={"Accept": "application/yaml"}).body.startswith(
        "apiV"
    )


def test_clients_that_look_closely_trust_the_certificate(server: Served) -> None:
    context = ssl.create_default_context(cadata=make_certificates().authority)
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    plain = socket.create_connection(("127.0.0.1", server.port))
    with context.wrap_socket(plain, server_hostname="localhost") as secured:
        assert secured.version() in ("TLSv1.2", "TLSv1.3")


def test_a_machine_without_openssl_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(PodfenceError, match="install the package openssl"):
        certificates.make()
