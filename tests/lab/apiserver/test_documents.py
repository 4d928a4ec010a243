# SPDX-License-Identifier: Apache-2.0
"""A fuzzer that reads the server's OpenAPI documents finds no request that is a fault of the server."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from podfence.lab.addresses import Plan
from podfence.lab.objects.world import World
from tests.lab.apiserver.serving import TOKEN, Client, make_certificates, served
from tests.twin.effort import LONG

FUZZER = Path(sys.executable).with_name("schemathesis")
EXTENT = ("--max-time", os.environ.get("SECONDS", "120")) if LONG else ("--max-examples", "1", "--seed", "1")
NAMES = {"namespace": ["default", "kube-system", "nope"], "name": ["a", "b", "kubernetes"]}


def whole(client: Client) -> dict[str, Any]:
    """Return all documents of a server as one, with few names, so that requests meet each other."""
    found: dict[str, Any] = {"paths": {}, "schemas": {}}
    for place in client.get("/openapi/v3")["paths"]:
        document = client.get(f"/openapi/v3/{place}")
        found["schemas"] |= document["components"]["schemas"]
        found["paths"] |= document["paths"]
    for item in found["paths"].values():
        for parameter in item["parameters"]:
            parameter["schema"] = {"type": "string", "enum": NAMES[parameter["name"]]}
        for operation in item.values():
            if isinstance(operation, dict) and "*/*" in operation.get("requestBody", {}).get("content", {}):
                content = operation["requestBody"]["content"]
                content["application/json"] = content.pop("*/*")
    found["schemas"]["io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"]["properties"]["name"] = {"enum": NAMES["name"]}
    about = {"title": "lab", "version": "1"}
    return {"openapi": "3.0.0", "info": about, "paths": found["paths"], "components": {"schemas": found["schemas"]}}


def test_the_documents_name_the_places_in_every_path() -> None:
    with served() as server:
        for path, item in whole(server.client)["paths"].items():
            assert {f"{{{parameter['name']}}}" for parameter in item["parameters"]} == {
                part for part in path.split("/") if part.startswith("{")
            }


def test_no_request_that_the_documents_allow_is_a_fault_of_the_server(tmp_path: Path) -> None:
    authority = tmp_path / "ca.crt"
    authority.write_text(make_certificates().authority, encoding="ascii")
    with served(World(Plan(), 1).store) as server:
        document = tmp_path / "document.json"
        document.write_text(json.dumps(whole(server.client)), encoding="utf-8")
        address = f"https://127.0.0.1:{server.port}"
        done = subprocess.run(
            [
                *(str(FUZZER), "run", str(document), "--url", address, "--tls-verify", str(authority)),
                *("--header", f"Authorization: Bearer {TOKEN}", "--checks", "not_a_server_error"),
                *("--phases", "fuzzing", *EXTENT, "--suppress-health-check", "all"),
            ],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 0, done.stdout[-3000:]
    assert " generated" in done.stdout, "no request was sent"
