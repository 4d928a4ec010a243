# SPDX-License-Identifier: Apache-2.0
"""What is shipped: a wheel that works by itself, a light start, a licence in every file."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tomllib
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
MANIFESTS = """\
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: web, image: web}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: db, namespace: shop}
spec:
  selector: {matchLabels: {app: db}}
  template:
    metadata: {labels: {app: db}}
    spec: {containers: [{name: db, image: db}]}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: db, namespace: shop}
spec:
  podSelector: {matchLabels: {app: db}}
  ingress:
  - from: [{podSelector: {matchLabels: {app: web}}}]
    ports: [{port: 5432}]
"""


def clean_environment() -> dict[str, str]:
    """Return the environment without what would lead a child back to the checkout or measure it."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "COVERAGE"))}


def run(*command: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, cwd=cwd, env=clean_environment(), stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    built = run(sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", folder, cwd=ROOT)
    assert built.returncode == 0, built.stderr
    (file,) = folder.glob("podfence-*.whl")
    return file


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the `bin` folder of an environment with the wheel; dependencies come from this environment."""
    folder = tmp_path_factory.mktemp("installed environment")
    venv.create(folder, with_pip=False)
    python = folder / "bin" / "python"
    pip = (sys.executable, "-m", "pip", "--python", python, "--disable-pip-version-check")
    done = run(*pip, "install", "--quiet", "--no-index", "--no-deps", wheel, cwd=folder)
    assert done.returncode == 0, done.stderr
    # Lines of a .pth file are plain paths: the .pth file of the checkout's own editable install is not followed.
    (site,) = folder.glob("lib/python3*/site-packages")
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return folder / "bin"


def test_wheel_holds_the_type_marker_the_license_and_nothing_but_the_package(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()

    assert "podfence/py.typed" in names
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in names)
    assert {name.split("/")[0] for name in names if ".dist-info/" not in name} == {"podfence"}


def test_wheel_holds_every_module_of_the_checkout(wheel: Path) -> None:
    source = ROOT / "src"
    modules = {path.relative_to(source).as_posix() for path in source.rglob("*.py")}

    assert modules <= set(zipfile.ZipFile(wheel).namelist())


@pytest.mark.parametrize("command", ["podfence", "kubectl-podfence"])
def test_installed_command_tells_its_version_outside_the_checkout(
    installed: Path, tmp_path: Path, command: str
) -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]

    answer = run(installed / command, "version", cwd=tmp_path)

    assert answer.returncode == 0, answer.stderr
    assert version in answer.stdout


def test_installed_command_carries_the_specification(installed: Path, tmp_path: Path) -> None:
    answer = run(installed / "podfence", "semantics", "2.2", cwd=tmp_path)

    assert "If a pod is isolated in a direction" in answer.stdout, answer.stderr


def test_installed_package_is_not_the_checkout(installed: Path, tmp_path: Path) -> None:
    answer = run(installed / "python", "-c", "import podfence; print(podfence.__file__)", cwd=tmp_path)

    assert Path(answer.stdout.strip()).is_relative_to(installed.parent)


@pytest.mark.parametrize(("port", "code", "word"), [("5432", 0, "allowed"), ("22", 1, "denied")])
def test_installed_command_answers_outside_the_checkout(
    installed: Path, tmp_path: Path, port: str, code: int, word: str
) -> None:
    (tmp_path / "shop.yaml").write_text(MANIFESTS)

    answer = run(installed / "podfence", "check", "shop/web", "shop/db", port, "-f", "shop.yaml", cwd=tmp_path)

    assert (answer.returncode, answer.stdout.split()[:1]) == (code, [word]), answer.stderr


TOOLS = {
    "uv": ("tool", "install"),
    "pipx": ("install",),
}


@pytest.mark.parametrize("tool", TOOLS)
def test_wheel_is_a_tool_for_whoever_installs_it_as_one(wheel: Path, tmp_path: Path, tool: str) -> None:
    program = shutil.which(tool)
    if program is None:
        pytest.skip(f"there is no {tool}")
    folders = {"UV_TOOL_DIR": "tools", "UV_TOOL_BIN_DIR": "bin", "PIPX_HOME": "tools", "PIPX_BIN_DIR": "bin"}
    environment = clean_environment() | {name: str(tmp_path / folder) for name, folder in folders.items()}
    done = subprocess.run(
        [program, *TOOLS[tool], wheel], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr

    assert run(tmp_path / "bin" / "podfence", "version", cwd=tmp_path).returncode == 0
    assert (tmp_path / "bin" / "kubectl-podfence").exists()


def test_the_readme_says_how_its_commands_are_found() -> None:
    """After `make demo` a shell answered `podfence: command not found`."""
    (line,) = (
        text.partition("#")[0].strip()
        for text in (ROOT / "README.md").read_text().splitlines()
        if "PATH of this" in text
    )
    typed = f"{line} && command -v podfence && command -v kubectl-podfence"
    found = subprocess.run(
        ["sh", "-c", typed],
        cwd=ROOT,
        env=clean_environment() | {"PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    if not (ROOT / ".venv" / "bin" / "podfence").exists():
        pytest.skip("this checkout was not set up by make")

    assert found.stdout.split() == [str(ROOT / ".venv" / "bin" / name) for name in ("podfence", "kubectl-podfence")]
    assert line in (ROOT / "scripts" / "demo").read_text()


def test_module_is_the_command(tmp_path: Path) -> None:
    command = run(Path(sys.executable).parent / "podfence", "version", cwd=tmp_path)
    module = run(sys.executable, "-m", "podfence", "version", cwd=tmp_path)

    assert (module.returncode, module.stdout) == (0, command.stdout)


HEAVY = (
    *("aiohttp", "asyncio", "ctypes", "dataclasses", "email", "http", "ipaddress", "json", "logging"),
    *("multiprocessing", "pathlib", "pathspec", "selectors", "shutil", "socket", "ssl", "subprocess"),
    *("tempfile", "tomllib", "urllib"),
    *("podfence.agent", "podfence.dataplane", "podfence.lab", "podfence.netlink", "podfence.nft"),
    *("podfence.kube.access", "podfence.kube.live", "podfence.kube.rendering", "podfence.kube.unapplied"),
    *("podfence.analysis.overview", "podfence.policy.model", "podfence.policy.remedies"),
    *("podfence.report.structured", "podfence.report.documents", "podfence.report.markdown"),
)
"""What takes longer to load than an answer about two pods does, or has no part in it."""

LOADED_BY = """
import sys
before = set(sys.modules)
from podfence.cli.main import main
sys.argv = ["podfence", *{arguments!r}]
try:
    main()
finally:
    print(*sorted(name for name in set(sys.modules) - before for heavy in {heavy!r}
          if f"{{name}}.".startswith(f"{{heavy}}.")), file=sys.stderr)
"""


@pytest.mark.parametrize("argument", ["--help", "version"])
def test_a_command_that_reads_nothing_loads_no_heavy_module(argument: str, tmp_path: Path) -> None:
    script = LOADED_BY.format(arguments=[argument], heavy=("asyncio", "yaml"))
    answer = run(sys.executable, "-c", script, cwd=tmp_path)

    assert answer.returncode == 0, answer.stderr
    assert answer.stdout
    assert not answer.stderr.split()


@pytest.mark.parametrize(("port", "code"), [("5432", 0), ("22", 1)])
def test_a_check_of_a_file_loads_nothing_that_it_does_not_need(port: str, code: int, tmp_path: Path) -> None:
    (tmp_path / "shop.yaml").write_text(MANIFESTS)
    arguments = ["check", "shop/web", "shop/db", port, "-q", "-f", "shop.yaml"]
    answer = run(sys.executable, "-c", LOADED_BY.format(arguments=arguments, heavy=HEAVY), cwd=tmp_path)

    assert answer.returncode == code, answer.stderr
    assert not answer.stderr.split()


def source_files() -> list[Path]:
    code = [path for folder in ("src", "tests", "bench") for path in (ROOT / folder).rglob("*.py")]
    scripts = [path for folder in ("scripts", ".ci") for path in (ROOT / folder).iterdir() if path.is_file()]
    return [*code, *scripts, ROOT / "Makefile"]


def test_every_source_file_names_its_license() -> None:
    header = "# SPDX-License-Identifier: Apache-2.0"

    # A script's first line is for the kernel; its second is ours.
    without = [str(path.relative_to(ROOT)) for path in source_files() if header not in path.read_text().split("\n")[:2]]

    assert without == []


def test_lock_pins_every_direct_dependency_with_hashes_and_names_no_host() -> None:
    lock = (ROOT / "requirements" / "dev.lock").read_text()
    pinned = {line.split("==")[0] for line in lock.splitlines() if line[:1].isalnum()}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    tools = (ROOT / "requirements" / "dev.txt").read_text().splitlines()
    direct = {item.split(">=")[0].lower() for item in project["dependencies"]}
    direct |= {re.split("[#;]", line)[0].strip().lower() for line in tools} - {""}

    assert direct <= pinned
    assert lock.count("--hash=sha256:") >= len(pinned)
    assert "://" not in lock
