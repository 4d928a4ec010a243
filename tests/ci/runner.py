# SPDX-License-Identifier: Apache-2.0
"""What of a GitHub runner an action needs: its variables, its steps in a shell, and the API of comments."""

from __future__ import annotations

import json
import os
import re
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final, NamedTuple, Self

import yaml

ROOT: Final = Path(__file__).resolve().parents[2]
REPOSITORY: Final = "shop/manifests"
_EXPRESSION: Final = re.compile(r"\$\{\{ *([\w.-]+) *\}\}")


class Job(NamedTuple):
    """What came of a job: the exit code, its log, its summary, and the outputs of its action."""

    code: int
    log: str
    summary: str
    outputs: dict[str, str]


class Comments:
    """An API of GitHub that knows the comments of one pull request."""

    def __init__(self, *, refuses: int = 0) -> None:
        """Listen on loopback; all requests are refused with the status `refuses` if that is not 0."""
        self.comments: list[dict[str, Any]] = []
        self.requests: list[str] = []
        self.refuses = refuses
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def add(self, body: str, author: str = "Bot") -> None:
        """Add a comment of a user or a bot."""
        self.comments.append({"id": len(self.comments) + 1, "body": body, "user": {"type": author}})

    def answer(self, method: str, path: str, content: dict[str, str]) -> object:
        """Return the answer to a request."""
        self.requests.append(f"{method} {path.partition('?')[0]}")
        if method == "GET":
            page = int(path.rpartition("page=")[2])
            return self.comments[100 * (page - 1) : 100 * page]
        if method == "POST":
            self.add(content["body"])
            return self.comments[-1]
        found = next(item for item in self.comments if item["id"] == int(path.rpartition("/")[2]))
        found["body"] = content["body"]
        return found

    def _handler(outer) -> type[BaseHTTPRequestHandler]:  # noqa: N805 - self is the request
        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_: object) -> None:
                """Keep quiet."""

            def answer(self) -> None:
                data = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                assert self.headers["Authorization"] == "Bearer secret"
                answer = outer.answer(self.command, self.path, json.loads(data or b"{}"))
                self.send_response(outer.refuses or 200)
                self.end_headers()
                self.wfile.write(json.dumps(answer).encode())

            do_GET = do_POST = do_PATCH = answer  # noqa: N815 - the names are the library's

        return Handler


def action() -> dict[str, Any]:
    """Return the action of this repository."""
    loaded: dict[str, Any] = yaml.safe_load((ROOT / "action.yml").read_text())
    return loaded


def run(
    folder: Path, temporary: Path, inputs: dict[str, str], *, api: str, fork: bool = False, base: str = "main"
) -> Job:
    """Run the steps of the action in a checkout, as a runner does for a pull request."""
    temporary.mkdir(exist_ok=True)
    declared = action()
    given = {name: str(item.get("default", "")) for name, item in declared["inputs"].items()} | inputs
    assert given.keys() == declared["inputs"].keys(), "an input that the action does not have"
    files = {name: temporary / name for name in ("GITHUB_STEP_SUMMARY", "GITHUB_OUTPUT", "GITHUB_EVENT_PATH")}
    head = {"repo": {"full_name": "stranger/manifests" if fork else REPOSITORY}}
    files["GITHUB_EVENT_PATH"].write_text(json.dumps({"pull_request": {"number": 7, "head": head}}))
    files["GITHUB_STEP_SUMMARY"].write_text("")
    runner = {
        **{name: str(path) for name, path in files.items()},
        "GITHUB_API_URL": api,
        "GITHUB_REPOSITORY": REPOSITORY,
        "GITHUB_BASE_REF": base,
        "RUNNER_TEMP": str(temporary),
        "GITHUB_WORKSPACE": str(folder),
        "GITHUB_ACTIONS": "true",
        "CI": "true",
    }
    values = {"github.action_path": str(ROOT), "github.token": "secret"}
    values |= {f"inputs.{name}": _filled(text, values) for name, text in given.items()}
    log, code = "", 0
    for step in declared["runs"]["steps"]:
        files["GITHUB_OUTPUT"].write_text("")
        environ = {name: _filled(text, values) for name, text in step["env"].items()}
        script = temporary / "step.sh"
        script.write_text(step["run"])
        done = subprocess.run(
            ["bash", "--noprofile", "--norc", "-e", "-o", "pipefail", script],
            cwd=folder,
            env=os.environ | runner | environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        log += done.stdout
        for line in files["GITHUB_OUTPUT"].read_text().splitlines():
            name, _, text = line.partition("=")
            values[f"steps.{step.get('id')}.outputs.{name}"] = text
        if done.returncode:
            code = done.returncode
            break
    outputs = {name: _filled(item["value"], values) for name, item in declared["outputs"].items()}
    return Job(code, log, files["GITHUB_STEP_SUMMARY"].read_text(), outputs)


def _filled(text: str, values: dict[str, str]) -> str:
    return _EXPRESSION.sub(lambda found: values.get(found[1], ""), text)
