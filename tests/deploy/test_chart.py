# SPDX-License-Identifier: Apache-2.0
"""The chart: what it makes with its defaults, what its values change, and which values it refuses."""

from __future__ import annotations

import itertools
import json
import re
import shutil
import subprocess
import threading
import tomllib
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import click
import pytest
import yaml

from podfence.cli.main import commands
from podfence.policy.budget import BUDGETS, MEASURES
from podfence.policy.options import describe
from tests.deploy import helm

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

VALUES: dict[str, Any] = yaml.safe_load((helm.CHART / "values.yaml").read_text())
APP_VERSION: str = yaml.safe_load((helm.CHART / "Chart.yaml").read_text())["appVersion"]
SCHEMA: dict[str, Any] = json.loads((helm.CHART / "values.schema.json").read_text())

# What the agent asks of the API server: the kinds it follows, and Events about its node and about policies.
EVERYWHERE = {
    ("", "namespaces", "list"),
    ("", "namespaces", "watch"),
    ("", "nodes", "list"),
    ("", "nodes", "watch"),
    ("", "pods", "list"),
    ("", "pods", "watch"),
    ("networking.k8s.io", "networkpolicies", "list"),
    ("networking.k8s.io", "networkpolicies", "watch"),
    ("", "events", "create"),
}


def permissions(role: dict[str, Any]) -> set[tuple[str, str, str]]:
    assert all(set(rule) == {"apiGroups", "resources", "verbs"} for rule in role["rules"])
    return {
        (group, resource, verb)
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


def paths(values: dict[str, Any], properties: dict[str, Any], before: str = "") -> list[str]:
    """Return the keys whose own keys are given by the schema, as paths, and the others."""
    found = []
    for name, value in values.items():
        inner = properties[name].get("properties")
        deeper = inner is not None and isinstance(value, dict) and value and name != "resources"
        found += paths(value, inner, f"{before}{name}.") if deeper else [before + name]
    return found


def test_chart_has_the_version_of_the_package() -> None:
    version = tomllib.loads((helm.ROOT / "pyproject.toml").read_text())["project"]["version"]
    chart = yaml.safe_load((helm.CHART / "Chart.yaml").read_text())

    assert (chart["version"], chart["appVersion"]) == (version, version)


def test_schema_has_every_value_and_no_other() -> None:
    def keys(schema: dict[str, Any]) -> set[str]:
        return set(schema["properties"])

    assert keys(SCHEMA) - {"global"} == set(VALUES)
    for name in ("image", "log", "listen", "metrics", "apiServer", "controller", "bootUnit"):
        assert keys(SCHEMA["properties"][name]) == set(VALUES[name])


def test_schema_has_the_engines_options_with_their_values() -> None:
    """But not those for what was not read: an agent has all there is."""
    schema = SCHEMA["properties"]["options"]["properties"]

    assert {name: tuple(item["enum"]) for name, item in schema.items()} == {
        name.replace("_", "-"): choice.values
        for name, choice in describe().items()
        if name not in {"world", "pod_cidrs", "service_cidrs"}
    }


def test_every_value_has_its_comment_and_its_default_in_the_reference() -> None:
    page = (helm.ROOT / "docs" / "reference" / "chart.md").read_text()
    rows = dict(re.findall(r"^\| `([\w.]+)` \| `(.*?)` \|", page, re.MULTILINE))

    assert list(rows) == paths(VALUES, SCHEMA["properties"])
    for path, default in rows.items():
        value: Any = VALUES
        for name in path.split("."):
            value = value[name]
        assert yaml.safe_load(default) == value, path
        name = path.split(".")[-1]
        lines = (helm.CHART / "values.yaml").read_text().split("\n")
        assert any(
            line.strip().startswith(f"{name}:") and above.strip().startswith("#")
            for above, line in itertools.pairwise(lines)
        ), path


@helm.needed
def test_lint_finds_nothing(tmp_path: Path) -> None:
    done = helm.run("lint", "--strict", helm.CHART)

    assert done.returncode == 0, done.stdout


@helm.needed
def test_manifests_for_kubectl_are_those_of_the_chart(tmp_path: Path) -> None:
    made = subprocess.run(
        ("sh", "scripts/install-yaml", tmp_path), cwd=helm.ROOT, capture_output=True, text=True, check=False
    )

    assert made.returncode == 0, made.stderr
    for name in ("install.yaml", "cleanup.yaml"):
        assert (tmp_path / name).read_text() == (helm.ROOT / "deploy" / name).read_text(), (
            "`make install-yaml` writes it"
        )


@helm.needed
def test_roles_grant_what_the_agent_asks_for_and_no_more() -> None:
    found = helm.objects()

    assert permissions(found["ClusterRole"]) == EVERYWHERE
    assert "Role" not in found


@helm.needed
def test_the_controller_may_look_at_agents_and_change_nodes_and_nothing_else() -> None:
    done = helm.template("--set", "controller.enabled=true")
    made = [
        item for item in yaml.safe_load_all(done.stdout) if item and item["metadata"]["name"] == "podfence-controller"
    ]
    found = {item["kind"]: item for item in made}

    assert permissions(found["ClusterRole"]) == {("", "nodes", verb) for verb in ("get", "list", "patch")}
    assert permissions(found["Role"]) == {("", "pods", "list"), ("", "pods", "watch")}
    assert found["Role"]["metadata"]["namespace"] == "n"
    account = {"kind": "ServiceAccount", "name": "podfence-controller", "namespace": "n"}
    assert found["ClusterRoleBinding"]["subjects"] == found["RoleBinding"]["subjects"] == [account]
    deployment = found["Deployment"]["spec"]
    assert deployment["selector"]["matchLabels"].items() <= deployment["template"]["metadata"]["labels"].items()
    assert deployment["template"]["metadata"]["labels"]["app.kubernetes.io/component"] != "agent"
    (container,) = deployment["template"]["spec"]["containers"]
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert container["args"][0] in commands.list_commands(click.Context(commands))
    assert container["args"][:2] == ["controller", "--namespace=n"]
    assert {"operator": "Exists"} in deployment["template"]["spec"]["tolerations"]


@helm.needed
def test_there_is_no_controller_unless_it_is_asked_for_and_none_at_cleanup() -> None:
    assert "podfence-controller" not in helm.template().stdout
    assert "podfence-controller" not in helm.template("--set", "controller.enabled=true,cleanup=true").stdout


@helm.needed
def test_roles_are_bound_to_the_account_of_the_pods_alone() -> None:
    found = helm.objects()
    account = {"kind": "ServiceAccount", "name": "podfence-agent", "namespace": "n"}

    binding, role = found["ClusterRoleBinding"], found["ClusterRole"]
    assert binding["subjects"] == [account]
    assert (binding["roleRef"]["kind"], binding["roleRef"]["name"]) == ("ClusterRole", role["metadata"]["name"])
    assert found["ServiceAccount"]["metadata"] | account == found["ServiceAccount"]["metadata"] | {
        "kind": "ServiceAccount",
        "name": "podfence-agent",
        "namespace": "n",
    }
    assert helm.pod()["spec"]["serviceAccountName"] == found["ServiceAccount"]["metadata"]["name"]


@helm.needed
def test_container_has_one_capability_and_may_write_only_its_volumes() -> None:
    assert helm.agent()["securityContext"] == {
        "runAsUser": 0,
        "runAsGroup": 0,
        "readOnlyRootFilesystem": True,
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"], "add": ["NET_ADMIN"]},
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    assert {item["name"]: item["hostPath"]["path"] for item in helm.pod()["spec"]["volumes"]} == {
        "state": "/var/lib/podfence",
        "run": "/run/podfence",
        "cni-results": "/var/lib/cni/results",
    }
    assert [item["name"] for item in helm.agent()["volumeMounts"] if item.get("readOnly")] == ["cni-results"]


@helm.needed
def test_what_installs_the_boot_unit_has_no_capability_and_the_agent_none_of_its_places() -> None:
    spec = helm.pod("--set", "bootUnit.enabled=true")["spec"]
    (unit,) = spec["initContainers"]
    places = {item["mountPath"] for item in unit["volumeMounts"]}

    assert unit["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert places == {"/var/lib/podfence", "/host/etc", "/host/usr"}
    assert [item["mountPath"] for item in unit["volumeMounts"] if item.get("readOnly")] == ["/host/usr"]
    assert {item["mountPath"] for item in helm.agent("--set", "bootUnit.enabled=true")["volumeMounts"]} & places == {
        "/var/lib/podfence"
    }
    assert "initContainers" not in helm.pod()["spec"]


@helm.needed
def test_profile_of_apparmor_is_named_as_the_version_of_kubernetes_knows_it() -> None:
    value = ("--set", "appArmorProfile=podfence-agent,bootUnit.enabled=true")
    field = {"type": "Localhost", "localhostProfile": "podfence-agent"}
    key = "container.apparmor.security.beta.kubernetes.io"

    spec = helm.pod(*value)["spec"]
    containers = [*spec["containers"], *spec["initContainers"]]
    assert [item["securityContext"].get("appArmorProfile") for item in containers] == [field, field]
    older = helm.pod(*value, "--kube-version", "1.29.0")
    named = {name: profile for name, profile in older["metadata"]["annotations"].items() if name.startswith(key)}
    assert named == {f"{key}/agent": "localhost/podfence-agent", f"{key}/boot-unit": "localhost/podfence-agent"}
    assert "appArmorProfile" not in older["spec"]["containers"][0]["securityContext"]
    assert "appArmorProfile" not in helm.agent()["securityContext"]


def test_apparmor_takes_the_profile() -> None:
    parser = shutil.which("apparmor_parser")
    if parser is None:
        pytest.skip("needs apparmor_parser")
    profile = helm.ROOT / "deploy/apparmor/podfence-agent"
    done = subprocess.run((parser, "--skip-kernel-load", "--skip-cache", profile), capture_output=True, check=False)

    assert done.returncode == 0, done.stderr


@helm.needed
def test_agent_is_on_every_linux_node_whatever_its_taints() -> None:
    spec = helm.pod()["spec"]

    assert spec["hostNetwork"] is True
    assert spec["tolerations"] == [{"operator": "Exists"}]
    assert spec["nodeSelector"] == {"kubernetes.io/os": "linux"}
    assert spec["priorityClassName"] == "system-node-critical"
    assert "hostPID" not in spec


def flags(command: click.Command) -> set[str]:
    return {name for parameter in command.params for name in parameter.opts}


def command(*names: str) -> click.Command:
    found: click.Command = commands
    for name in names:
        assert isinstance(found, click.Group)
        inner = found.get_command(click.Context(found), name)
        assert inner is not None
        found = inner
    return found


@helm.needed
def test_commands_know_the_arguments_they_get() -> None:
    held = "bootUnit.enabled=true,bootUnit.ranges={10.0.0.0/8}"
    values = f"reject=true,options.hairpin=policy,uplinks={{a}},unboundNamespaces={{b}},{held}"
    everything = helm.agent("--set", values)["args"]
    (unit,) = helm.pod("--set", values)["spec"]["initContainers"]
    (cleanup,) = helm.pod("--set", f"cleanup=true,{held}")["spec"]["initContainers"]

    assert everything[0] == "agent"
    assert {argument.split("=")[0] for argument in everything[1:]} <= flags(command("agent"))
    assert cleanup["args"][:2] == ["agent", "cleanup"]
    assert {argument.split("=")[0] for argument in cleanup["args"][2:]} <= flags(command("agent", "cleanup"))
    assert unit["args"][:3] == ["agent", "boot-unit", "install"]
    assert {argument.split("=")[0] for argument in unit["args"][3:]} <= flags(command("agent", "boot-unit"))


@helm.needed
@pytest.mark.parametrize(
    ("value", "argument"),
    [
        ("options.own-node-egress=allowed", "--set=own-node-egress=allowed"),
        ("reject=true", "--reject"),
        ("binding=report", "--binding=report"),
        ("unboundNamespaces={routers}", "--unbound-namespace=routers"),
        ("uplinks={veth-up}", "--uplink=veth-up"),
        ("cniResults=/var/lib/cni/cache/results", "--cni-results=/var/lib/cni/cache/results"),
        ("log.format=json", "--log-format=json"),
        ("log.level=debug", "--log-level=debug"),
        ("listen.port=9000", "--listen=$(NODE_ADDRESS):9000"),
        ("listen.address=127.0.0.1", "--listen=127.0.0.1:9474"),
        ("stateDirectory=/srv/podfence", "--state-dir=/srv/podfence"),
        ("runDirectory=/srv/podfence", "--run-dir=/srv/podfence"),
        ("bootUnit.enabled=true", "--boot-hold=5m"),
        ("bootUnit.enabled=true,bootUnit.timeout=90s", "--boot-hold=90s"),
        ("bootUnit.enabled=true,bootUnit.ranges={10.0.0.0/8}", "--boot-range=10.0.0.0/8"),
        ("bootUnit.enabled=true,bootUnit.links={cali*}", "--boot-link=cali*"),
    ],
)
def test_value_becomes_an_argument(value: str, argument: str) -> None:
    assert argument not in helm.agent()["args"]
    assert argument in helm.agent("--set", value)["args"]


@helm.needed
def test_address_of_the_api_server_becomes_what_clients_in_pods_read() -> None:
    variables = {item["name"]: item.get("value") for item in helm.agent("--set", "apiServer.host=10.0.0.1")["env"]}

    assert variables["KUBERNETES_SERVICE_HOST"] == "10.0.0.1"
    assert variables["KUBERNETES_SERVICE_PORT"] == "6443"
    assert {item["name"] for item in helm.agent()["env"]} == {"NODE_NAME", "NODE_ADDRESS"}


@helm.needed
@pytest.mark.parametrize(
    ("values", "image"),
    [
        ("image.tag=1.2.3", "podfence:1.2.3"),
        ("image.repository=registry.example/net/podfence", f"registry.example/net/podfence:{APP_VERSION}"),
        (f"image.tag=1.2.3,image.digest=sha256:{'0' * 64}", f"podfence@sha256:{'0' * 64}"),
    ],
)
def test_image_is_named_by_tag_or_digest(values: str, image: str) -> None:
    assert helm.agent("--set", values)["image"] == image


@helm.needed
def test_service_is_made_on_demand_and_finds_the_pods() -> None:
    assert "Service" not in helm.objects()

    service = helm.objects("--set", "metrics.service=true")["Service"]

    assert service["spec"]["selector"].items() <= helm.pod()["metadata"]["labels"].items()


@helm.needed
def test_cleanup_runs_once_in_each_pod_which_then_holds_no_right() -> None:
    spec = helm.pod("--set", "cleanup=true")["spec"]
    (waiting,) = spec["containers"]

    assert spec["initContainers"][0]["securityContext"] == helm.agent()["securityContext"]
    written = [item for item in helm.agent()["volumeMounts"] if not item.get("readOnly")]
    # An older agent may have changed settings of the network.
    written.append({"name": "settings", "mountPath": "/host/proc/sys/net"})
    assert spec["initContainers"][0]["volumeMounts"] == written
    assert {item["name"] for item in spec["volumes"]} == {item["name"] for item in written}
    assert spec["automountServiceAccountToken"] is False
    assert waiting["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert "volumeMounts" not in waiting


@helm.needed
def test_cleanup_replaces_the_agents_daemonset() -> None:
    def identity(made: dict[str, Any]) -> tuple[Any, ...]:
        return made["metadata"]["name"], made["metadata"]["namespace"], made["spec"]["selector"]

    assert identity(helm.objects("--set", "cleanup=true")["DaemonSet"]) == identity(helm.objects()["DaemonSet"])


@helm.needed
@pytest.mark.parametrize(
    ("value", "named"),
    [
        ("image.pullPolicy=Sometimes", "image.pullPolicy"),
        ("image.tag=a b", "image.tag"),
        ("listen.port=0", "listen.port"),
        ("listen.port=x", "listen.port"),
        ("listen.address=node", "listen.address"),
        ("options.hairpin=maybe", "options.hairpin"),
        ("options.hair-pin=policy", "hair-pin"),
        ("reject=sometimes", "reject"),
        ("binding=on", "binding"),
        ("unboundNamespaces={Routers}", "unboundNamespaces"),
        ("uplinks={a/b}", "uplinks"),
        ("cniResults=results", "cniResults"),
        ("log.format=xml", "log.format"),
        ("log.level=loud", "log.level"),
        ("apiServer.host=https://10.0.0.1", "apiServer.host"),
        ("stateDirectory=state", "stateDirectory"),
        ("stateDirectory=/", "stateDirectory"),
        ("maxUnavailable=0", "maxUnavailable"),
        ("maxUnavailable=0%", "maxUnavailable"),
        ("tolerations=all", "tolerations"),
        ("cleanUp=true", "cleanUp"),
        ("bootUnit.timeout=soon", "bootUnit.timeout"),
        ("bootUnit.ranges={pods}", "bootUnit.ranges"),
        ("bootUnit.links={a b}", "bootUnit.links"),
        ("appArmorProfile=a b", "appArmorProfile"),
    ],
)
def test_wrong_value_is_refused_by_name(value: str, named: str) -> None:
    done = helm.template("--set", value)

    assert done.returncode != 0
    # helm 3.18 and later write paths with slashes.
    assert named in done.stderr.replace("/", "."), done.stderr


class _Answers(BaseHTTPRequestHandler):
    """As much of an API server as helm needs to look a DaemonSet up; `args` are those of its agent, None: none."""

    args: tuple[str, ...] | None = None

    def do_GET(self) -> None:
        """Answer."""
        listed = {"name": "daemonsets", "kind": "DaemonSet", "namespaced": True, "verbs": ["get"]}
        documents: dict[str, Any] = {
            "/version": {"major": "1", "minor": "36", "gitVersion": "v1.36.0"},
            "/api": {"kind": "APIVersions", "versions": ["v1"]},
            "/apis": {"kind": "APIGroupList", "groups": []},
            "/apis/apps/v1": {"kind": "APIResourceList", "groupVersion": "apps/v1", "resources": [listed]},
        }
        if self.args is not None:
            pod = {"containers": [{"name": "agent", "args": list(self.args)}]}
            documents["/apis/apps/v1/namespaces/n/daemonsets/podfence-agent"] = {
                "apiVersion": "apps/v1",
                "kind": "DaemonSet",
                "metadata": {"name": "podfence-agent"},
                "spec": {"template": {"spec": pod}},
            }
        found = documents.get(self.path.partition("?")[0])
        body = json.dumps(found or {"kind": "Status", "reason": "NotFound", "code": 404}).encode()
        self.send_response(200 if found else 404)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def installed(tmp_path: Path) -> Iterator[Callable[..., dict[str, Any]]]:
    """Return what gives the agent's container where a DaemonSet is installed whose agent has some arguments."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Answers) as server:
        threading.Thread(target=server.serve_forever).start()
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "c", "cluster": {"server": f"http://127.0.0.1:{server.server_port}"}}],
            "contexts": [{"name": "x", "context": {"cluster": "c", "user": ""}}],
            "current-context": "x",
        }
        (tmp_path / "config").write_text(json.dumps(config))

        def agent(args: tuple[str, ...] | None, *more: str) -> dict[str, Any]:
            _Answers.args = args
            return helm.agent("--dry-run=server", "--kubeconfig", str(tmp_path / "config"), *more)

        yield agent
        server.shutdown()


@helm.needed
@pytest.mark.parametrize(
    ("args", "value", "expected"),
    [
        pytest.param(None, "", "enforce", id="nothing is installed"),
        pytest.param(("agent", "--reject"), "", "report", id="one from before there was a choice"),
        pytest.param(("agent", "--binding=report"), "", "report", id="report was chosen"),
        pytest.param(("agent", "--binding=enforce", "--reject"), "", "enforce", id="enforce was chosen"),
        pytest.param(("agent", "--binding=off"), "", "off", id="off was chosen"),
        pytest.param((), "", "report", id="nodes were being cleaned"),
        pytest.param(("agent",), "enforce", "enforce", id="a value counts"),
        pytest.param(("agent", "--binding=enforce"), "off", "off", id="a value counts over what was chosen"),
    ],
)
def test_what_is_bound_is_what_was_chosen_and_an_older_installation_begins_with_reports(
    installed: Callable[..., dict[str, Any]], args: tuple[str, ...] | None, value: str, expected: str
) -> None:
    container = installed(args, *(["--set", f"binding={value}"] if value else []))
    assert [item for item in container["args"] if item.startswith("--binding")] == [f"--binding={expected}"]


@helm.needed
def test_old_kubernetes_is_refused() -> None:
    done = helm.template(kubernetes="1.21.0")

    assert done.returncode != 0
    assert "1.22" in done.stderr


# Large policies refused by the API server


@helm.needed
def test_no_admission_policy_is_made_unless_asked_for() -> None:
    assert not {kind for kind in helm.objects() if kind.startswith("ValidatingAdmission")}
    assert not {
        kind
        for kind in helm.objects("--set", "admission.policySize=true", "--set", "cleanup=true")
        if kind.startswith("ValidatingAdmission")
    }


@helm.needed
@pytest.mark.parametrize("budget", ["standard", "tenfold"])
def test_the_admission_policy_has_the_limits_of_the_budget_but_for_what_cel_cannot_count(budget: str) -> None:
    made = helm.objects("--set", "admission.policySize=true", "--set", f"options.budget={budget}")
    spec = made["ValidatingAdmissionPolicy"]["spec"]
    limits = BUDGETS[budget]
    assert limits is not None
    expected = {name: limit for name, limit in limits.policy._asdict().items() if name != "overlaps"}

    assert [item["expression"] for item in spec["validations"]] == [
        f"variables.{name} <= {limit}" for name, limit in expected.items()
    ]
    for item, (name, limit) in zip(spec["validations"], expected.items(), strict=True):
        assert item["messageExpression"] == (
            f"'is too large: ' + string(variables.{name}) + ' {MEASURES[name]}, at most {limit}'"
        )
    assert expected.keys() <= {item["name"] for item in spec["variables"]}
    assert spec["failurePolicy"] == "Fail"
    assert made["ValidatingAdmissionPolicyBinding"]["spec"] == {
        "policyName": made["ValidatingAdmissionPolicy"]["metadata"]["name"],
        "validationActions": ["Deny"],
    }


@helm.needed
def test_an_admission_policy_without_a_budget_is_refused() -> None:
    done = helm.template("--set", "admission.policySize=true", "--set", "options.budget=none")
    assert done.returncode != 0
    assert "there are no limits with options.budget none" in done.stderr
