# SPDX-License-Identifier: Apache-2.0
"""A field that is nearly one podfence reads is named, in the kinds whose other fields are not looked at."""

from __future__ import annotations

import pytest

from podfence.kube import yaml
from podfence.kube.decode import decode

POD = "apiVersion: v1\nkind: Pod\nmetadata: {name: a%s}\nspec: {%scontainers: [{name: c, image: i%s}]}\n"
SERVICE = "apiVersion: v1\nkind: Service\nmetadata: {name: s}\nspec: {ports: [{port: 80%s}]%s}\n"
DEPLOYMENT = """\
apiVersion: apps/v1
kind: Deployment
metadata: {name: d}
spec:
  selector: {matchLabels: {app: d}}
  template:
    metadata: {labels: {app: d}, label: {tier: web}}
    spec: {containers: [{name: c, image: i}]}
"""


def warnings(text: str) -> list[str]:
    documents, problems = yaml.parse(text.encode(), "a.yaml")
    found = decode(documents).problems
    return [str(problem) for problem in [*problems, *found]]


@pytest.mark.parametrize(
    ("manifest", "expected"),
    [
        (
            POD % (", lables: {a: b}", "", ""),
            '3:21: warning: unknown field "metadata.lables" is ignored (did you mean labels?)',
        ),
        (
            POD % ("", "", ", port: [{containerPort: 80}]"),
            '4:41: warning: unknown field "spec.containers[0].port" is ignored (did you mean ports?)',
        ),
        (
            POD % ("", "hostnetwork: true, ", ""),
            '4:8: warning: unknown field "spec.hostnetwork" is ignored (did you mean hostNetwork?)',
        ),
        (
            POD % ("", "", ", ports: [{containerPort: 80, Protocol: UDP}]"),
            '4:69: warning: unknown field "spec.containers[0].ports[0].Protocol" is ignored (did you mean protocol?)',
        ),
        (
            SERVICE % ("", ", selectors: {a: b}"),
            '4:29: warning: unknown field "spec.selectors" is ignored (did you mean selector?)',
        ),
        (
            SERVICE % (", targetport: 8080", ""),
            '4:27: warning: unknown field "spec.ports[0].targetport" is ignored (did you mean targetPort?)',
        ),
        (DEPLOYMENT, '7:34: warning: unknown field "spec.template.metadata.label" is ignored (did you mean labels?)'),
    ],
)
def test_a_near_miss_is_a_warning_with_the_right_name(manifest: str, expected: str) -> None:
    assert warnings(manifest) == [f"a.yaml:{expected}"]


@pytest.mark.parametrize(
    "manifest",
    [
        POD % ("", "hostname: a, hostPID: true, nodeSelector: {a: b}, ", ", env: [], envFrom: [], stdin: true"),
        POD % ("", "ephemeralContainers: [], ", ", ports: [{containerPort: 80, hostPort: 80, hostIP: 127.0.0.1}]"),
        SERVICE % (", appProtocol: http", ", externalIPs: [], sessionAffinity: None, ipFamilies: [IPv4]"),
    ],
)
def test_real_fields_that_are_not_read_are_no_near_misses(manifest: str) -> None:
    assert warnings(manifest) == []


def test_a_stored_object_has_no_misspelt_fields_so_none_are_looked_for() -> None:
    assert warnings(POD % (", uid: 1-2-3, lables: {}", "", "")) == []
