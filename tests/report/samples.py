# SPDX-License-Identifier: Apache-2.0
"""Hand-built answers with one of everything that a report has to show."""

from __future__ import annotations

from typing import Literal

from podfence.agent.node.answer import (
    AgentStatus,
    Judged,
    Moment,
    NodeConnection,
    PodLinks,
    RuleCount,
    Watch,
    Why,
)
from podfence.agent.node.findings import NodeFinding
from podfence.analysis.answers import (
    AbsentConnection,
    AbsentPods,
    Connection,
    Connectivity,
    Endpoints,
    Group,
    Matrix,
    PodConnection,
    PortRange,
    Ports,
    Term,
)
from podfence.analysis.diff.answer import (
    AbsentChange,
    Cause,
    ConnectionChange,
    Difference,
    GapChange,
    ObjectChange,
    Side,
)
from podfence.analysis.overview import Ends, Overview, OverviewLine
from podfence.kube.findings import Code, Finding, Position, Severity
from podfence.kube.objects import Key
from podfence.lab.status import Lab, LabNamespace, LabNode, LabPod, LabPolicy, Labs, LabService, LabStatus
from podfence.lab.verification.result import ARRIVED, DeadTarget, LeftOut, Trial, verification
from podfence.policy.changes import AddPeer, PeerItem, Remedy
from podfence.policy.unknown import part
from podfence.policy.verdict import Decision, Direction, Line, Miss, PolicyRef, Reason, RuleRef, Tier, Verdict
from podfence.report.about import Config, Version
from podfence.sets import AddressBlock

FINDING = Finding(
    code=Code.INVALID,
    severity=Severity.WARNING,
    object=Key("NetworkPolicy", "shop", "db"),
    position=Position("shop/policies/db.yaml", 9, 5),
    path=("spec", "ingress", 0),
    message="says 100% nothing:\nbecause",
    remedy="take it out, or fill it",
)
VERSION = Version(version="1.2.3", python="3.11.7")
CONFIG = Config(
    file="podfence.toml",
    filename=("deploy", "base"),
    recursive=True,
    exclude=(),
    namespace="default",
    options={"validation": "strict"},
    given=("filename", "recursive", "options.validation"),
)

REMEDY = Remedy(
    change=AddPeer(
        namespace="shop", policy="db", direction="ingress", rule=0, peer=PeerItem(pod_labels={"app": "web"})
    ),
    text="add podSelector app=web to `from` of rule 1",
)


def as_overview(answer: Connectivity) -> Overview:
    """Return the connections of the JSON as lines."""
    return Overview(
        lines=tuple(
            OverviewLine(Ends(item.sources.items()), Ends(item.destinations.items()), item.ports, item.depends)
            for item in answer
        ),
        groups=tuple((group.name, Ends(group.members.items())) for group in answer.groups),
        open_sources=Ends(answer.open_sources.items()),
        open_destinations=Ends(answer.open_destinations.items()),
        workloads=0,
        pods=0,
        policies=0,
    )


def tcp(first: int, last: int | None = None) -> PortRange:
    return PortRange("TCP", first, last or first)


WEB_TO_API = Connection(
    sources=Endpoints(workloads=("shop/deploy/web",)),
    destinations=Endpoints(workloads=("shop/deploy/api",)),
    ports=Ports(ranges=(tcp(5000),)),
)
DNS = Connection(
    sources=Endpoints(groups=("G1",)),
    destinations=Endpoints(workloads=("kube-system/deploy/dns",)),
    ports=Ports(ranges=(tcp(53), PortRange("UDP", 53, 53))),
)
OPEN = Connection(
    sources=Endpoints(open_pods=True),
    destinations=Endpoints(open_pods=True, all_addresses=True),
    ports=Ports(everything=True),
)
NODE_PORT = Connection(
    sources=Endpoints(addresses=(AddressBlock("0.0.0.0/0", ("10.0.0.0/8", "192.168.0.0/16")),)),
    destinations=Endpoints(workloads=("shop/deploy/web",)),
    ports=Ports(ranges=(tcp(8080, 8090), PortRange("ICMP"))),
    depends="depends on service-source",
)

SHOP = Connectivity(
    connections=(WEB_TO_API, DNS, OPEN),
    groups=(
        Group("G1", Endpoints(groups=("G2",), workloads=("shop/deploy/web",))),
        Group("G2", Endpoints(workloads=("shop/deploy/api", "shop/sts/db"))),
        Group("G3", Endpoints(workloads=("shop/deploy/nobody-asks",))),
    ),
    open_sources=Endpoints(namespaces=("lab",), workloads=("shop/deploy/web",)),
    open_destinations=Endpoints(workloads=("kube-system/deploy/dns",)),
    workloads=6,
    pods=9,
    policies=4,
)
DEPENDING = Connectivity(connections=(WEB_TO_API, NODE_PORT), workloads=2, pods=2, policies=1)
NOTHING = Connectivity(connections=(), workloads=2, pods=2, policies=1)

PODS = (
    PodConnection("shop/web-1", "shop/api-1", Ports(ranges=(tcp(5000), PortRange("ICMP")))),
    PodConnection("0.0.0.0/0", "shop/web-1", Ports(everything=True), depends="depends on service-source"),
)

GRID = Matrix(names=("lab/a", "lab/long-name", "lab/c"), rows=(".X~", "?..", "XX."))

DB = PolicyRef("NetworkPolicy", "shop", "db", Position("policies/db.yaml", 3, 1))
DB_RULE = RuleRef(
    DB,
    Direction.INGRESS,
    0,
    Position("policies/db.yaml", 9, 5),
    (
        Line(9, "  - from:"),
        Line(10, "    - podSelector: {matchLabels: {app: api}}"),
        Line(11, "    ports: [{port: 5432}]"),
    ),
)
FREE_EGRESS = Reason(
    direction=Direction.EGRESS,
    decision=Decision.ALLOWED,
    tier=Tier.DEFAULT,
    summary="allowed by default (no policy selects shop/web)",
    semantics="2.1",
)
DENIED = Verdict(
    source="shop/web",
    destination="shop/db",
    port="TCP 5432",
    decision=Decision.DENIED,
    egress=FREE_EGRESS,
    ingress=Reason(
        direction=Direction.INGRESS,
        decision=Decision.DENIED,
        tier=Tier.NETWORK_POLICY,
        summary="NetworkPolicy shop/db (policies/db.yaml:3) isolates the pod, no rule admits the connection"
        "; nearest: rule 1 admits TCP 5432 from app=api, but the source has app=web",
        semantics="2.3",
        policies=(DB,),
        nearest=Miss(
            DB_RULE,
            admits="TCP 5432 from app=api",
            gap="the source has app=web",
        ),
        remedy=REMEDY.text,
        remedies=(REMEDY,),
        options=("named-port-without-peer",),
    ),
    notes=("shop/web has 2 pods; they do not differ",),
)
ALLOWED = Verdict(
    source="shop/api",
    destination="shop/db",
    port="TCP 5432",
    decision=Decision.ALLOWED,
    egress=FREE_EGRESS,
    ingress=Reason(
        direction=Direction.INGRESS,
        decision=Decision.ALLOWED,
        tier=Tier.NETWORK_POLICY,
        summary="rule 1 of NetworkPolicy shop/db admits",
        semantics="2.2",
        policies=(DB,),
        rule=DB_RULE,
        match="item 1 of `from`: app=api",
    ),
)
DEPENDS = Verdict(
    source="shop/front",
    destination="shop/db",
    port="TCP 5432",
    decision=Decision.DEPENDS,
    egress=FREE_EGRESS,
    ingress=Reason(
        direction=Direction.INGRESS,
        decision=Decision.DEPENDS,
        tier=Tier.NETWORK_POLICY,
        summary="differs between pods",
        semantics="2.2",
    ),
    depends_on=(part("the pod"),),
    parts=(ALLOWED, DENIED),
)
VERDICTS = (ALLOWED, DENIED, DEPENDS)


def trial(source: str, destination: str, port: str, expected: Literal["allowed", "denied"], *outcomes: str,
          kind: str = "", family: Literal[4, 6] = 4, reason: str = "") -> Trial:  # fmt: skip
    """Return a trial between pods named for their groups: ``shop/web-1`` is one of ``shop/deploy/web``."""
    one, other = (f"shop/deploy/{name.rpartition('/')[2].rpartition('-')[0]}" for name in (source, destination))
    return Trial(
        source=source,
        destination=destination,
        source_group=one,
        destination_group=other,
        port=port,
        port_kind=kind or port,
        family=family,
        expected=expected,
        observed="allowed" if outcomes[-1] in ARRIVED else "denied",
        outcomes=outcomes,
        reason=reason,
    )


HOLDING = verification(
    trials=(
        trial("shop/web-1", "shop/api-1", "TCP 5000", "allowed", "open"),
        trial("shop/web-1", "shop/api-1", "TCP 4000", "denied", "timeout", kind="other TCP"),
        trial("shop/job-1", "shop/api-1", "TCP 5000", "allowed", "timeout", "open"),
        trial("shop/job-1", "shop/api-1", "TCP 4000", "denied", "timeout", kind="other TCP"),
        trial("shop/api-1", "shop/web-1", "ICMP", "allowed", "open"),
        trial("shop/job-1", "shop/web-1", "ICMP", "denied", "timeout"),
    ),
)
LEAKING = verification(
    trials=(
        trial("shop/web-1", "shop/db-1", "TCP 5432", "denied", "open", "open",
              reason=f"{FREE_EGRESS} | {DENIED.ingress}"),
        trial("shop/web-1", "shop/db-1", "ICMP", "denied", "timeout"),
        trial("shop/api-1", "shop/db-1", "TCP 5432", "allowed", "open"),
        trial("shop/api-1", "shop/db-1", "TCP 5432", "denied", "timeout", family=6),
        trial("shop/api-2", "shop/web-1", "TCP 80", "allowed", "open"),
        trial("shop/api-1", "shop/web-1", "TCP 80", "denied", "timeout"),
    ),
    dead=(
        DeadTarget(
            destination="shop/job-1",
            port="UDP 53",
            family=4,
            sources=tuple(f"shop/web-{number}" for number in range(1, 7)),
            connections=6,
            outcome="timeout",
        ),
    ),
    left_out=(LeftOut("shop/tele SCTP 7000", "SCTP is not tried"),),
)  # fmt: skip
VERIFICATIONS = (HOLDING, LEAKING)

LAB = LabStatus(
    name="podfence",
    network="bridge",
    namespaces=(LabNamespace(name="shop", labels={"kubernetes.io/metadata.name": "shop"}),),
    nodes=(LabNode(name="node-1", addresses=("10.0.0.1",), pods=1, agent="enforcing"),),
    pods=(
        LabPod(
            namespace="shop",
            name="web-1",
            node="node-1",
            addresses=("10.244.1.2",),
            phase="Running",
            restarts=0,
            runs=("nginx: a stand-in",),
            labels={"app": "web"},
        ),
    ),
    services=(
        LabService(
            namespace="shop",
            name="web",
            type="ClusterIP",
            addresses=("10.96.0.7",),
            ports=("80/TCP",),
            backends=1,
            selector="app=web",
        ),
    ),
    policies=(LabPolicy(namespace="shop", name="web", real={"node-1": 0.004}, admitted=3, denied=1, selector=""),),
    waiting=("shop/db",),
)

LABS = Labs(items=(Lab(name="other", nodes=2, pods=5, problem=""),))

STATUS = AgentStatus(
    node="n1",
    version="1.2.3",
    started="2027-01-15T08:00:00Z",
    enforcing=False,
    ready=False,
    obstacles=("the kernel could not be programmed",),
    source="kept",
    source_since="2027-01-15T08:00:01Z",
    watches=(Watch(kind="Pod", listed=True, connected=False, error="timed out", events=7, failures=2, relists=1),),
    findings=(NodeFinding(severity="fatal", code="rival", message="another enforces", remedy="remove it"),),
    pods=1,
    policies=2,
    groups=3,
    binding="report",
    links=PodLinks(bound=4, unbound=1, exempt=0),
    last_change=None,
    last_error=Moment(at="2027-01-15T08:01:00Z", what="nft failed"),
    dropped=None,
)
"""The status of an agent with whatever can be wrong."""

ON_A_NODE = Why(
    node="n1",
    enforcing=True,
    verdict=DENIED,
    differs=True,
    connections=(
        NodeConnection(
            source="shop/web (10.0.0.1)",
            destination="shop/db (10.0.0.2)",
            ports="TCP 80",
            sides=(
                Judged(
                    direction="ingress",
                    pod="shop/db",
                    address="10.0.0.2",
                    chain="i_shop_db_0123456789ab",
                    policies=("NetworkPolicy shop/db",),
                    engine="no port",
                    program="TCP 80",
                    rules=(RuleCount(rule="NetworkPolicy shop/db rule 1", ports="TCP 80", packets=None),),
                    denied_packets=1,
                ),
            ),
            differences=("ingress: the node's program admits TCP 80, and the engine does not",),
        ),
    ),
    left_out=2,
    notes=("a note",),
)
"""What an agent answers where its kernel differs."""

ADDED_RULE = Cause(
    effect="ruleAdded",
    text="ingress rule 2 of NetworkPolicy shop/db was added (policies/db.yaml:14)",
    object="NetworkPolicy shop/db",
    direction=Direction.INGRESS,
    new_rule=1,
    new=Position("policies/db.yaml", 14, 5),
)
REMOVED_POLICY = Cause(
    effect="policyRemoved",
    text="NetworkPolicy shop/web was removed (git:main:policies/web.yaml:1)",
    object="NetworkPolicy shop/web",
    old=Position("git:main:policies/web.yaml", 1, 1),
)
OPENED = ConnectionChange(
    change="opened",
    sources=Endpoints(workloads=("shop/deploy/web",)),
    destinations=Endpoints(workloads=("shop/sts/db",)),
    ports=Ports(ranges=(tcp(3306),)),
    before="denied",
    after="allowed",
    causes=(ADDED_RULE,),
)
OPENED_TO_ALL = ConnectionChange(
    change="opened",
    sources=Endpoints(all_addresses=True, namespaces=("lab",)),
    destinations=Endpoints(workloads=("shop/deploy/web",)),
    ports=Ports(everything=True),
    before="denied",
    after="allowed",
    causes=(REMOVED_POLICY,),
    internet=True,
    cross_namespace=True,
)
CLOSED = ConnectionChange(
    change="closed",
    sources=Endpoints(workloads=("shop/deploy/api",)),
    destinations=Endpoints(workloads=("shop/sts/db",)),
    ports=Ports(ranges=(tcp(5432),)),
    before="allowed",
    after="denied",
    causes=(ADDED_RULE, REMOVED_POLICY),
    joint=True,
)
ABSENT = AbsentChange(
    change="opened",
    connection=AbsentConnection(
        direction=Direction.EGRESS,
        subjects=Endpoints(workloads=("shop/deploy/web",)),
        peers=AbsentPods(namespace="kube-system", pod_selector=(Term("k8s-app", "In", ("kube-dns",)),)),
        ports=Ports(ranges=(PortRange("UDP", 53, 53),)),
    ),
    before="denied",
    after="allowed",
    causes=(ADDED_RULE,),
)
DIFFERENCE = Difference(
    old=Side(name="git:main", workloads=3, pods=3, policies=2),
    new=Side(name="policies", workloads=3, pods=3, policies=1),
    connections=(OPENED, OPENED_TO_ALL, CLOSED),
    absent=(ABSENT,),
    objects=(
        ObjectChange(
            change="changed",
            kind="NetworkPolicy",
            namespace="shop",
            name="db",
            what=("ingress rule 2",),
            old=Position("git:main:policies/db.yaml", 1, 1),
            new=Position("policies/db.yaml", 1, 1),
        ),
        ObjectChange(
            change="removed",
            kind="NetworkPolicy",
            namespace="shop",
            name="web",
            old=Position("git:main:policies/web.yaml", 1, 1),
        ),
    ),
    gaps=(GapChange(change="added", what="policies/new.yaml cannot be read", remedy="mend it"),),
    notes=("policies without pods do nothing",),
)
ONLY_TEXT = Difference(
    old=Side(name="git:main"),
    new=Side(name="policies"),
    objects=(ObjectChange(change="text", kind="NetworkPolicy", namespace="shop", name="db"),),
)
SAME = Difference(old=Side(name="git:main"), new=Side(name="policies"))
DIFFERENCES = (DIFFERENCE, ONLY_TEXT, SAME)
