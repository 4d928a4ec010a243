# SPDX-License-Identifier: Apache-2.0
"""A running test bed as tests use it: its cluster, its nodes, podfence on them, and Kubernetes' own tests."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import tempfile
import time
import xml.etree.ElementTree as ET
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Cni = Literal["bridge", "ptp"]
Proxy = Literal["nftables", "iptables"]
Families = Literal["single", "dual"]

CHECKOUT: Final = Path(__file__).resolve().parent.parent.parent
SCRIPTS: Final = CHECKOUT / "tests/kubernetes/bed"
IMAGE: Final = CHECKOUT / "dist/podfence-image.tar"
NAMESPACE: Final = "podfence-system"
RELEASE: Final = "podfence"
PATIENCE: Final = 150.0
"""Seconds that a test waits for what must come."""

_HOUR: Final = 3600.0


class Outcome(NamedTuple):
    """What a run of Kubernetes' NetworkPolicy tests gave: the names of its tests."""

    passed: tuple[str, ...]
    failed: tuple[str, ...]


class Bed:
    """A test bed in its work directory, whether it runs or not."""

    def __init__(self, work: Path) -> None:
        self.work = work
        self.kubeconfig = work / "conf/admin.conf"

    @property
    def runs(self) -> bool:
        """Whether its API server answers."""
        return (
            self.kubeconfig.exists()
            and self._script("kubectl.sh", "get", "--raw", "/readyz", check=False).returncode == 0
        )

    @property
    def nodes(self) -> tuple[int, ...]:
        """The numbers of the nodes that were started."""
        return tuple(sorted(int(file.stem.removeprefix("node-n")) for file in (self.work / "run").glob("node-n*.pid")))

    def start(self) -> None:
        """Build what is not built yet and start everything. Raises CalledProcessError."""
        self._script("up.sh", capture=False, timeout=_HOUR)

    def stop(self) -> None:
        """End everything, however often somebody interrupts."""
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)
        try:
            self._script("down.sh", capture=False, timeout=300)
        finally:
            signal.signal(signal.SIGINT, before)

    def restart(self, *, cni: Cni = "bridge", proxy: Proxy = "nftables", families: Families = "single") -> None:
        """Make the nodes anew, with that CNI plugin and that mode of kube-proxy. Raises CalledProcessError.

        With `families` "dual" pods and nodes have an address of IPv6 too.
        """
        chosen: dict[str, str] = {
            "PODFENCE_BED_CNI": cni,
            "PODFENCE_BED_PROXY": proxy,
            "PODFENCE_BED_FAMILIES": families,
        }
        self._script("restart.sh", capture=False, timeout=300, environ=chosen)

    def kubectl(
        self, *arguments: str, text: str | None = None, check: bool = True, timeout: float = 120
    ) -> subprocess.CompletedProcess[str]:
        """Run kubectl as an administrator; `text` is its input, `timeout` in seconds. Raises CalledProcessError."""
        return self._script("kubectl.sh", *arguments, text=text, check=check, timeout=timeout)

    def node_exec(
        self, node: int, *command: str, text: str | None = None, check: bool = True, timeout: float = 120
    ) -> subprocess.CompletedProcess[str]:
        """Run a command as root on a node, in its namespaces; files are this machine's. Raises CalledProcessError."""
        return self._script("node-exec.sh", str(node), *command, text=text, check=check, timeout=timeout)

    def in_control_plane(
        self, *command: str, check: bool = True, timeout: float = 120
    ) -> subprocess.CompletedProcess[str]:
        """Run a command where the API server is, outside of all nodes. Raises CalledProcessError."""
        return _run(
            "nsenter",
            f"--net=/run/netns/{self._settings()['PODFENCE_BED_NAME']}",
            *command,
            check=check,
            timeout=timeout,
        )

    @contextmanager
    def entered(self) -> Iterator[None]:
        """Let programs that this thread starts see the API server, and kubectl find it as it finds any cluster.

        They start in the control plane's network namespace, with KUBECONFIG and with the bed's kubectl on PATH.
        """
        own = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        place = os.open(Path("/run/netns", self._settings()["PODFENCE_BED_NAME"]), os.O_RDONLY)
        variables = {name: os.environ.get(name) for name in ("KUBECONFIG", "PATH")}
        try:
            _join(place)
            os.environ["KUBECONFIG"] = str(self.kubeconfig)
            os.environ["PATH"] = f"{self.work / 'bin'}:{variables['PATH']}"
            yield
        finally:
            _join(own)
            os.close(place)
            os.close(own)
            for name, value in variables.items():
                os.environ.pop(name, None)
                if value is not None:
                    os.environ[name] = value

    @property
    def enforces(self) -> bool:
        """Whether an agent answers on every node, the chart's or another."""
        asked = ("test", "-S", "/run/podfence/agent.sock")
        return all(self.node_exec(node, *asked, check=False).returncode == 0 for node in self.nodes)

    def install_podfence(self, *settings: str, ready: bool = True) -> None:
        """Bring the image to the nodes and install the chart; each of `settings` is a KEY=VALUE of the chart.

        Waits until agents are `ready`, unless they are not to be. Raises CalledProcessError.
        """
        if not IMAGE.exists():
            raise FileNotFoundError(f"{IMAGE} is missing: `make image` builds it")
        for node in self.nodes:
            self.load_image(node)
        self.kubectl("create", "namespace", NAMESPACE, check=False)
        self.kubectl("label", "namespace", NAMESPACE, "pod-security.kubernetes.io/enforce=privileged", "--overwrite")
        chosen = [word for setting in settings for word in ("--set", setting)]
        chart = CHECKOUT / "deploy/chart/podfence"
        self._helm("upgrade", "--install", RELEASE, str(chart), *chosen)
        if ready:
            self.kubectl(
                "-n", NAMESPACE, "rollout", "status", "daemonset/podfence-agent", "--timeout=120s", timeout=150
            )

    def load_image(self, node: int) -> None:
        """Bring the image of podfence to a node. Raises CalledProcessError."""
        self.node_exec(node, str(self.work / "bin/ctr"), "-n", "k8s.io", "images", "import", str(IMAGE))

    def clean_podfence(self) -> None:
        """Take everything of podfence from the nodes, and uninstall the chart. Raises CalledProcessError."""
        self.install_podfence("cleanup=true")
        self.remove_podfence()

    def remove_podfence(self) -> None:
        """Uninstall the chart and wait until its pods are gone; what agents leave in the kernels stays."""
        self._helm("uninstall", RELEASE, "--ignore-not-found", "--wait", "--timeout", "120s")
        self.kubectl("delete", "namespace", NAMESPACE, "--ignore-not-found", "--timeout=120s", timeout=150)

    def suite(self, focus: str = "Netpol") -> Outcome:
        """Run those of Kubernetes' NetworkPolicy tests whose names match `focus` (a regular expression).

        Its namespaces are deleted even if it is interrupted. Raises CalledProcessError when it gives no report.
        """
        with tempfile.TemporaryDirectory() as report:
            try:
                done = self._script("suite.sh", report, focus, check=False, timeout=_HOUR)
            finally:
                self.kubectl("delete", "namespace", "-l", "e2e-framework", "--timeout=300s", timeout=330, check=False)
            file = Path(report, "junit_01.xml")
            if not file.exists():
                raise subprocess.CalledProcessError(done.returncode, "suite.sh", done.stdout, done.stderr)
            return outcome(file.read_text(encoding="utf-8"))

    def _helm(self, *arguments: str) -> None:
        helm = _run("sh", str(CHECKOUT / "scripts/helm"), timeout=_HOUR).stdout.strip()
        self.in_control_plane(
            helm, "--kubeconfig", str(self.kubeconfig), "--namespace", NAMESPACE, *arguments, timeout=300
        )

    def _settings(self) -> dict[str, str]:
        words = (self.work / "conf/settings").read_text(encoding="utf-8").split()
        return dict(word.split("=", 1) for word in words)

    def script(self, name: str, *arguments: str) -> None:
        """Run one of the bed's scripts, for as long as it takes. Raises CalledProcessError."""
        self._script(name, *arguments, capture=False, timeout=_HOUR)

    def _script(
        self,
        name: str,
        *arguments: str,
        text: str | None = None,
        check: bool = True,
        capture: bool = True,
        timeout: float = 120,
        environ: dict[str, str] | None = None,
    ) -> subprocess.CompletedProcess[str]:
        variables = {**os.environ, **(environ or {}), "PODFENCE_BED": str(self.work)}
        return _run(
            str(SCRIPTS / name), *arguments, text=text, check=check, capture=capture, timeout=timeout, environ=variables
        )


def until(found: Callable[[], Any], what: str) -> Any:  # noqa: ANN401  whatever is found
    """Return what `found` returns as soon as that is true. Raises AssertionError, with `what`, after PATIENCE."""
    deadline = time.monotonic() + PATIENCE
    while not (result := found()):
        assert time.monotonic() < deadline, f"{what} did not happen"
        time.sleep(0.5)
    return result


def outcome(junit: str) -> Outcome:
    """Return what the report of a run says; tests that were not chosen are in neither list."""
    by_status: dict[str, list[str]] = {}
    for case in ET.fromstring(junit).iter("testcase"):  # noqa: S314 - written by the suite itself
        name = case.get("name", "")
        if name.startswith("[It]"):
            by_status.setdefault(case.get("status", ""), []).append(name)
    passed = by_status.pop("passed", [])
    by_status.pop("skipped", None)
    return Outcome(tuple(passed), tuple(name for names in by_status.values() for name in names))


def _join(namespace: int) -> None:
    """Let this thread join a network namespace; Python has os.setns from 3.12 on. Raises OSError."""
    if ctypes.CDLL(None, use_errno=True).setns(namespace, 0x40000000) != 0:  # CLONE_NEWNET
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), "setns")


def _run(
    *command: str,
    text: str | None = None,
    check: bool = True,
    capture: bool = True,
    timeout: float = 120,
    environ: dict[str, str] | None = None,
) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        command,
        env=environ,
        input=text,
        stdin=subprocess.DEVNULL if text is None else None,
        capture_output=capture,
        text=True,
        timeout=timeout,
        check=False,
    )
    if check and done.returncode != 0:
        error = subprocess.CalledProcessError(done.returncode, command, done.stdout, done.stderr)
        error.add_note(f"it said: {done.stdout or ''}{done.stderr or ''}")
        raise error
    return done
