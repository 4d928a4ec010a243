# SPDX-License-Identifier: Apache-2.0
"""Broken manifests, each with all it is told, word for word: where, what, and what to do about it."""

from __future__ import annotations

from textwrap import indent

import pytest

from podfence.kube.decode import decode
from podfence.kube.yaml import parse

SUBDOMAIN = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and "
    "must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is "
    "'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
)
DNS_LABEL = (
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start"
    " and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is"
    " '[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
)
NAME_PART = (
    "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an "
    "alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is "
    "'([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"
)
VALUE = (
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and "
    "must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', "
    "regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"
)


class Case:
    """A manifest and its messages; the name is what is wrong with it."""

    def __init__(self, name: str, manifest: str, *messages: str) -> None:
        self.name = name
        self.manifest = manifest
        self.messages = messages


def manifest(text: str) -> str:
    return f"{text}\n"


def with_spec(api_version: str, kind: str, spec: str) -> str:
    """Return an object whose spec starts in line 5, column 3."""
    return f"apiVersion: {api_version}\nkind: {kind}\nmetadata: {{name: p}}\nspec:\n{indent(spec, '  ')}\n"


def policy(spec: str) -> str:
    return with_spec("networking.k8s.io/v1", "NetworkPolicy", spec)


def ingress(rule: str) -> str:
    """Return a policy whose only rule starts in line 7, column 5."""
    return policy(f"ingress:\n-\n{indent(rule, '  ')}")


def legacy(spec: str) -> str:
    return with_spec("extensions/v1beta1", "NetworkPolicy", spec)


def pod(spec: str) -> str:
    return with_spec("v1", "Pod", spec)


def service(spec: str) -> str:
    return with_spec("v1", "Service", spec)


def deployment(spec: str) -> str:
    return with_spec("apps/v1", "Deployment", spec)


CASES = [
    Case(
        "a list written as a string",
        policy("ingress: all"),
        'f.yaml:5:12: error: spec.ingress: expected a list, found the string "all"',
    ),
    Case(
        "a list written as a mapping",
        policy("ingress:\n  from: []"),
        "f.yaml:6:5: error: spec.ingress: expected a list, found a mapping (start its first line with a dash)",
    ),
    Case(
        "a list written as a number",
        policy("egress: 80"),
        "f.yaml:5:11: error: spec.egress: expected a list, found the number 80",
    ),
    Case(
        "the spec is a list",
        manifest(
            "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: p}\nspec:\n- podSelector: {}"
        ),
        "f.yaml:5:1: error: spec: expected a mapping, found a list (remove the dash)",
    ),
    Case(
        "the spec is false",
        manifest("apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: p}\nspec: false"),
        "f.yaml:4:7: error: spec: expected a mapping, found false",
    ),
    Case(
        "a rule is a string",
        policy("ingress: [all]"),
        'f.yaml:5:13: error: spec.ingress[0]: expected a mapping, found the string "all"',
    ),
    Case(
        "a rule is a list",
        policy("ingress:\n- - from: []"),
        "f.yaml:6:5: error: spec.ingress[0]: expected a mapping, found a list (remove the dash)",
    ),
    Case(
        "a peer is a string",
        ingress("from: [web]"),
        'f.yaml:7:12: error: spec.ingress[0].from[0]: expected a mapping, found the string "web"',
    ),
    Case(
        "peers are a mapping",
        ingress("from:\n  podSelector: {}"),
        (
            "f.yaml:8:7: error: spec.ingress[0].from: expected a list, found a mapping (start its first line "
            "with a dash)"
        ),
    ),
    Case(
        "a selector is a string",
        policy("podSelector: web"),
        'f.yaml:5:16: error: spec.podSelector: expected a mapping, found the string "web"',
    ),
    Case(
        "a selector is a list",
        ingress("from:\n- podSelector:\n  - app: web"),
        ("f.yaml:9:7: error: spec.ingress[0].from[0].podSelector: expected a mapping, found a list (remove the dash)"),
    ),
    Case(
        "labels are a list",
        policy("podSelector: {matchLabels: [app]}"),
        "f.yaml:5:30: error: spec.podSelector.matchLabels: expected a mapping, found a list",
    ),
    Case(
        "a label is a number",
        policy("podSelector: {matchLabels: {version: 1}}"),
        (
            "f.yaml:5:40: error: spec.podSelector.matchLabels[version]: expected a string, found the number 1 "
            "(put it in quotes)"
        ),
    ),
    Case(
        "a label is a decimal number",
        policy("podSelector: {matchLabels: {version: 1.5}}"),
        (
            "f.yaml:5:40: error: spec.podSelector.matchLabels[version]: expected a string, found the number 1.5 "
            "(put it in quotes)"
        ),
    ),
    Case(
        "a label is a truth value",
        policy("podSelector:\n  matchLabels:\n    app.kubernetes.io/enabled: yes"),
        (
            "f.yaml:7:34: error: spec.podSelector.matchLabels[app.kubernetes.io/enabled]: expected a string, "
            "found true (put it in quotes)"
        ),
    ),
    Case(
        "a label is a list",
        policy("podSelector: {matchLabels: {app: [web]}}"),
        "f.yaml:5:36: error: spec.podSelector.matchLabels[app]: expected a string, found a list",
    ),
    Case(
        "an expression's values are a string",
        policy("podSelector: {matchExpressions: [{key: app, operator: In, values: web}]}"),
        (
            "f.yaml:5:69: error: spec.podSelector.matchExpressions[0].values: expected a list, found the string "
            '"web" (write ["web"])'
        ),
    ),
    Case(
        "an expression's value is a number",
        policy("podSelector: {matchExpressions: [{key: app, operator: In, values: [a, 1]}]}"),
        (
            "f.yaml:5:73: error: spec.podSelector.matchExpressions[0].values[1]: expected a string, found the "
            "number 1 (put it in quotes)"
        ),
    ),
    Case(
        "an expression is a string",
        policy("podSelector: {matchExpressions: [app]}"),
        'f.yaml:5:36: error: spec.podSelector.matchExpressions[0]: expected a mapping, found the string "app"',
    ),
    Case(
        "policy types are a string",
        policy("policyTypes: Ingress"),
        'f.yaml:5:16: error: spec.policyTypes: expected a list, found the string "Ingress" (write ["Ingress"])',
    ),
    Case(
        "a policy type is a truth value",
        policy("policyTypes: [Ingress, no]"),
        "f.yaml:5:26: error: spec.policyTypes[1]: expected a string, found false",
    ),
    Case(
        "ports are a number",
        ingress("ports: 80"),
        "f.yaml:7:12: error: spec.ingress[0].ports: expected a list, found the number 80",
    ),
    Case(
        "a port item is a number",
        ingress("ports: [80]"),
        "f.yaml:7:13: error: spec.ingress[0].ports[0]: expected a mapping, found the number 80",
    ),
    Case(
        "a port is a list",
        ingress("ports: [{port: [80, 443]}]"),
        "f.yaml:7:20: error: spec.ingress[0].ports[0].port: expected a number or a string, found a list",
    ),
    Case(
        "a port is a truth value",
        ingress("ports: [{port: on}]"),
        "f.yaml:7:20: error: spec.ingress[0].ports[0].port: expected a number or a string, found true",
    ),
    Case(
        "a port is broken",
        ingress("ports: [{port: 80.5}]"),
        (
            "f.yaml:7:20: error: spec.ingress[0].ports[0].port: expected a whole number or a string, found the "
            "number 80.5"
        ),
    ),
    Case(
        "a port is beyond 32 bits",
        ingress("ports: [{port: 2147483648}]"),
        (
            "f.yaml:7:20: error: spec.ingress[0].ports[0].port: expected a number from -2147483648 to "
            "2147483647 or a string, found the number 2147483648"
        ),
    ),
    Case(
        "an end port is in quotes",
        ingress("ports: [{port: 80, endPort: '90'}]"),
        (
            'f.yaml:7:33: error: spec.ingress[0].ports[0].endPort: expected a number, found the string "90" '
            "(remove the quotes)"
        ),
    ),
    Case(
        "an end port is a word",
        ingress("ports: [{port: 80, endPort: all}]"),
        'f.yaml:7:33: error: spec.ingress[0].ports[0].endPort: expected a number, found the string "all"',
    ),
    Case(
        "a protocol is a number",
        ingress("ports: [{protocol: 6}]"),
        "f.yaml:7:24: error: spec.ingress[0].ports[0].protocol: expected a string, found the number 6",
    ),
    Case(
        "an address block is a string",
        ingress("from: [{ipBlock: 10.0.0.0/8}]"),
        'f.yaml:7:22: error: spec.ingress[0].from[0].ipBlock: expected a mapping, found the string "10.0.0.0/8"',
    ),
    Case(
        "an address block is a number",
        ingress("from: [{ipBlock: {cidr: 10}}]"),
        "f.yaml:7:29: error: spec.ingress[0].from[0].ipBlock.cidr: expected a string, found the number 10",
    ),
    Case(
        "exceptions are a string",
        ingress("from: [{ipBlock: {cidr: 10.0.0.0/8, except: 10.1.0.0/16}}]"),
        (
            "f.yaml:7:49: error: spec.ingress[0].from[0].ipBlock.except: expected a list, found the string "
            '"10.1.0.0/16" (write ["10.1.0.0/16"])'
        ),
    ),
    Case(
        "a misspelt field",
        policy("podSelecter: {}"),
        'f.yaml:5:3: error: unknown field "spec.podSelecter" (did you mean podSelector?)',
    ),
    Case(
        "a field in lower case",
        policy("podselector: {}"),
        'f.yaml:5:3: error: unknown field "spec.podselector" (did you mean podSelector?)',
    ),
    Case(
        "a singular policy type",
        policy("policyType: [Ingress]"),
        'f.yaml:5:3: error: unknown field "spec.policyType" (did you mean policyTypes?)',
    ),
    Case(
        "to in an ingress rule",
        ingress("to: []"),
        'f.yaml:7:5: error: unknown field "spec.ingress[0].to" (did you mean from?)',
    ),
    Case(
        "from in an egress rule",
        policy("egress:\n- from:\n  - podSelector: {}"),
        'f.yaml:6:5: error: unknown field "spec.egress[0].from" (did you mean to?)',
    ),
    Case(
        "port in a rule",
        ingress("port: 80"),
        'f.yaml:7:5: error: unknown field "spec.ingress[0].port" (did you mean ports?)',
    ),
    Case(
        "labels right under a selector",
        policy("podSelector:\n  app: web"),
        'f.yaml:6:5: error: unknown field "spec.podSelector.app" (labels go under matchLabels)',
    ),
    Case(
        "matchLabels right under a peer",
        ingress("from:\n- matchLabels: {app: web}"),
        (
            'f.yaml:8:7: error: unknown field "spec.ingress[0].from[0].matchLabels" (put it under podSelector '
            "or namespaceSelector)"
        ),
    ),
    Case(
        "a namespace by name in a peer",
        ingress("from:\n- namespace: shop"),
        (
            'f.yaml:8:7: error: unknown field "spec.ingress[0].from[0].namespace" (select it by its label: '
            "namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: NAME}})"
        ),
    ),
    Case(
        "a misspelt peer",
        ingress("from:\n- namespaceSelecter: {}\n  podSelector: {}"),
        (
            'f.yaml:8:7: error: unknown field "spec.ingress[0].from[0].namespaceSelecter" (did you mean '
            "namespaceSelector?)"
        ),
    ),
    Case(
        "a misspelt address block",
        ingress("from: [{ipBlock: {Cidr: 10.0.0.0/8, excepts: []}}]"),
        'f.yaml:7:23: error: unknown field "spec.ingress[0].from[0].ipBlock.Cidr" (did you mean cidr?)',
        'f.yaml:7:41: error: unknown field "spec.ingress[0].from[0].ipBlock.excepts" (did you mean except?)',
    ),
    Case(
        "ports inside a peer",
        ingress("from:\n- podSelector: {}\n  ports: [{port: 80}]"),
        (
            'f.yaml:9:7: error: unknown field "spec.ingress[0].from[0].ports" (put it beside the list of peers, '
            "not inside it)"
        ),
    ),
    Case(
        "a value instead of values",
        policy("podSelector: {matchExpressions: [{key: app, operator: In, value: web}]}"),
        'f.yaml:5:61: error: unknown field "spec.podSelector.matchExpressions[0].value" (did you mean values?)',
    ),
    Case(
        "a spec inside the spec",
        policy("spec:\n  podSelector: {}"),
        'f.yaml:5:3: error: unknown field "spec.spec" (move its content one level up)',
    ),
    Case(
        "a field nobody knows",
        policy("action: Deny"),
        (
            'f.yaml:5:3: error: unknown field "spec.action" (the fields here are podSelector, ingress, egress, '
            "policyTypes)"
        ),
    ),
    Case(
        "a status nobody needs",
        manifest("apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: p}\nspec: {}\nstatus: {}"),
        'f.yaml:5:1: error: unknown field "status" (remove it: policies have no status)',
    ),
    Case(
        "rules beside the spec",
        manifest("apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: p}\nspec:\ningress: []"),
        'f.yaml:5:1: error: unknown field "ingress" (put it under spec)',
    ),
    Case(
        "a metadata field nobody knows",
        manifest("apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: p, lables: {a: b}}"),
        'f.yaml:3:21: error: unknown field "metadata.lables" (did you mean labels?)',
    ),
    Case(
        "a port in quotes",
        ingress("ports: [{port: '80'}]"),
        (
            'f.yaml:7:20: error: spec.ingress[0].ports[0].port: Invalid value: "80": must contain at least one '
            "letter (a-z) (remove the quotes)"
        ),
    ),
    Case(
        "port 0",
        ingress("ports: [{port: 0}]"),
        ("f.yaml:7:20: error: spec.ingress[0].ports[0].port: Invalid value: 0: must be between 1 and 65535, inclusive"),
    ),
    Case(
        "a port beyond the last",
        ingress("ports: [{port: 65536}]"),
        (
            "f.yaml:7:20: error: spec.ingress[0].ports[0].port: Invalid value: 65536: must be between 1 and "
            "65535, inclusive"
        ),
    ),
    Case(
        "a port name in upper case",
        ingress("ports: [{port: HTTP}]"),
        (
            'f.yaml:7:20: error: spec.ingress[0].ports[0].port: Invalid value: "HTTP": must contain only '
            "alpha-numeric characters (a-z, 0-9), and hyphens (-)"
        ),
        (
            'f.yaml:7:20: error: spec.ingress[0].ports[0].port: Invalid value: "HTTP": must contain at least '
            "one letter (a-z)"
        ),
    ),
    Case(
        "a port name that is too long",
        ingress("ports: [{port: a-very-long-name}]"),
        (
            'f.yaml:7:20: error: spec.ingress[0].ports[0].port: Invalid value: "a-very-long-name": must be no '
            "more than 15 characters"
        ),
    ),
    Case(
        "a range that is written as a name",
        ingress("ports: [{port: 8000-9000}]"),
        (
            'f.yaml:7:20: error: spec.ingress[0].ports[0].port: Invalid value: "8000-9000": must contain at '
            "least one letter (a-z)"
        ),
    ),
    Case(
        "an end port below the port",
        ingress("ports: [{port: 90, endPort: 80}]"),
        (
            "f.yaml:7:33: error: spec.ingress[0].ports[0].endPort: Invalid value: 90: must be greater than or "
            "equal to `port`"
        ),
    ),
    Case(
        "an end port without a port",
        ingress("ports: [{endPort: 80}]"),
        (
            "f.yaml:7:23: error: spec.ingress[0].ports[0].endPort: Invalid value: 80: may not be specified when "
            "`port` is not specified"
        ),
    ),
    Case(
        "an end port of a named port",
        ingress("ports: [{port: http, endPort: 80}]"),
        (
            "f.yaml:7:35: error: spec.ingress[0].ports[0].endPort: Invalid value: 80: may not be specified when "
            "`port` is non-numeric"
        ),
    ),
    Case(
        "a protocol in lower case",
        ingress("ports: [{protocol: tcp}]"),
        (
            'f.yaml:7:24: error: spec.ingress[0].ports[0].protocol: Unsupported value: "tcp": supported values: '
            '"TCP", "UDP", "SCTP" (write TCP)'
        ),
    ),
    Case(
        "a protocol that policies cannot name",
        ingress("ports: [{protocol: ICMP}]"),
        (
            'f.yaml:7:24: error: spec.ingress[0].ports[0].protocol: Unsupported value: "ICMP": supported '
            'values: "TCP", "UDP", "SCTP"'
        ),
    ),
    Case(
        "an empty protocol",
        ingress("ports: [{protocol: ''}]"),
        (
            'f.yaml:7:24: error: spec.ingress[0].ports[0].protocol: Unsupported value: "": supported values: '
            '"TCP", "UDP", "SCTP"'
        ),
    ),
    Case(
        "an empty peer",
        ingress("from: [{}]"),
        (
            "f.yaml:7:12: error: spec.ingress[0].from[0]: Required value: must specify a peer (leave from out "
            "to allow every peer; podSelector: {} allows the pods of the namespace)"
        ),
    ),
    Case(
        "a null peer",
        policy("egress:\n- to:\n  -"),
        (
            "f.yaml:7:6: error: spec.egress[0].to[0]: Required value: must specify a peer (leave to out to "
            "allow every peer; podSelector: {} allows the pods of the namespace)"
        ),
    ),
    Case(
        "an address block beside a selector",
        ingress("from:\n- ipBlock: {cidr: 10.0.0.0/8}\n  podSelector: {}"),
        (
            "f.yaml:8:7: error: spec.ingress[0].from[0]: Forbidden: may not specify both ipBlock and another "
            "peer (start ipBlock with a dash of its own: items of the list are alternatives)"
        ),
    ),
    Case(
        "an address without a prefix length",
        ingress("from: [{ipBlock: {cidr: 10.0.0.1}}]"),
        (
            'f.yaml:7:29: error: spec.ingress[0].from[0].ipBlock.cidr: Invalid value: "10.0.0.1": must be a '
            "valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64) (write 10.0.0.1/32 for this one address)"
        ),
    ),
    Case(
        "host bits",
        ingress("from: [{ipBlock: {cidr: 10.1.2.3/24}}]"),
        (
            'f.yaml:7:29: error: spec.ingress[0].from[0].ipBlock.cidr: Invalid value: "10.1.2.3/24": must not '
            "have bits set beyond the prefix length (write 10.1.2.0/24 or 10.1.2.3/32)"
        ),
    ),
    Case(
        "leading zeros",
        ingress("from: [{ipBlock: {cidr: 010.0.0.0/8}}]"),
        (
            'f.yaml:7:29: error: spec.ingress[0].from[0].ipBlock.cidr: Invalid value: "010.0.0.0/8": must not '
            "have leading 0s in IP or prefix length (write 10.0.0.0/8)"
        ),
    ),
    Case(
        "an IPv4-mapped address",
        ingress("from: [{ipBlock: {cidr: '::ffff:10.0.0.0/104'}}]"),
        (
            'f.yaml:7:29: error: spec.ingress[0].from[0].ipBlock.cidr: Invalid value: "::ffff:10.0.0.0/104": '
            "must not have an IPv4-mapped IPv6 address (write 10.0.0.0/8)"
        ),
    ),
    Case(
        "no address at all",
        ingress("from: [{ipBlock: {}}]"),
        "f.yaml:7:22: error: spec.ingress[0].from[0].ipBlock.cidr: Required value",
    ),
    Case(
        "an exception outside",
        ingress("from: [{ipBlock: {cidr: 10.0.0.0/8, except: [11.0.0.0/16]}}]"),
        (
            'f.yaml:7:50: error: spec.ingress[0].from[0].ipBlock.except[0]: Invalid value: "11.0.0.0/16": must '
            "be a strict subset of `cidr`"
        ),
    ),
    Case(
        "an operator in lower case",
        policy("podSelector: {matchExpressions: [{key: app, operator: in, values: [a]}]}"),
        (
            'f.yaml:5:57: error: spec.podSelector.matchExpressions[0].operator: Invalid value: "in": not a '
            "valid selector operator (the operators are In, NotIn, Exists and DoesNotExist)"
        ),
    ),
    Case(
        "an operator without values",
        policy("podSelector: {matchExpressions: [{key: app, operator: NotIn}]}"),
        (
            "f.yaml:5:36: error: spec.podSelector.matchExpressions[0].values: Required value: must be specified "
            "when `operator` is 'In' or 'NotIn'"
        ),
    ),
    Case(
        "an operator with values it cannot have",
        policy("podSelector: {matchExpressions: [{key: app, operator: Exists, values: [a]}]}"),
        (
            "f.yaml:5:73: error: spec.podSelector.matchExpressions[0].values: Forbidden: may not be specified "
            "when `operator` is 'Exists' or 'DoesNotExist'"
        ),
    ),
    Case(
        "a policy type in lower case",
        policy("policyTypes: [ingress]"),
        (
            'f.yaml:5:17: error: spec.policyTypes[0]: Unsupported value: "ingress": supported values: '
            '"Ingress", "Egress" (write Ingress)'
        ),
    ),
    Case(
        "three policy types",
        policy("policyTypes: [Ingress, Egress, Ingress]"),
        (
            'f.yaml:5:16: error: spec.policyTypes: Invalid value: ["Ingress","Egress","Ingress"]: may not '
            "specify more than two policyTypes"
        ),
    ),
    Case(
        "several errors of all sorts",
        policy(
            "podSelecter: {}\n"
            "ingress:\n"
            "- from: all\n"
            "  ports:\n"
            "  - {port: '80', protocol: tcp}\n"
            "- form: []\n"
            "policyTypes: [ingress]"
        ),
        'f.yaml:5:3: error: unknown field "spec.podSelecter" (did you mean podSelector?)',
        'f.yaml:7:11: error: spec.ingress[0].from: expected a list, found the string "all"',
        (
            'f.yaml:9:14: error: spec.ingress[0].ports[0].port: Invalid value: "80": must contain at least one '
            "letter (a-z) (remove the quotes)"
        ),
        (
            'f.yaml:9:30: error: spec.ingress[0].ports[0].protocol: Unsupported value: "tcp": supported values: '
            '"TCP", "UDP", "SCTP" (write TCP)'
        ),
        'f.yaml:10:5: error: unknown field "spec.ingress[1].form" (did you mean from?)',
        (
            'f.yaml:11:17: error: spec.policyTypes[0]: Unsupported value: "ingress": supported values: '
            '"Ingress", "Egress" (write Ingress)'
        ),
    ),
    Case(
        "a wrong type hides no bad value elsewhere",
        ingress("ports:\n- port: 80.5\n  endPort: 90\n- port: 0"),
        (
            "f.yaml:8:13: error: spec.ingress[0].ports[0].port: expected a whole number or a string, found the "
            "number 80.5"
        ),
        (
            "f.yaml:10:13: error: spec.ingress[0].ports[1].port: Invalid value: 0: must be between 1 and 65535, "
            "inclusive"
        ),
    ),
    Case(
        "a document that is a word",
        manifest("hello"),
        (
            'f.yaml:1:1: error: expected a Kubernetes object, found the string "hello" (leave the file out if '
            "it holds no Kubernetes objects)"
        ),
    ),
    Case(
        "a document that is a list",
        manifest("- a"),
        (
            "f.yaml:1:1: error: expected a Kubernetes object, found a list (leave the file out if it holds no "
            "Kubernetes objects)"
        ),
    ),
    Case(
        "an empty mapping",
        manifest("{}"),
        "f.yaml:1:1: error: apiVersion not set (leave the file out if it holds no Kubernetes objects)",
        "f.yaml:1:1: error: kind not set (leave the file out if it holds no Kubernetes objects)",
    ),
    Case(
        "no kind",
        manifest("apiVersion: v1\nmetadata: {name: a}"),
        "f.yaml:1:1: error: kind not set (leave the file out if it holds no Kubernetes objects)",
    ),
    Case(
        "no version",
        manifest("kind: NetworkPolicy\nmetadata: {name: p}"),
        "f.yaml:1:1: error: apiVersion not set (write apiVersion: networking.k8s.io/v1)",
    ),
    Case(
        "a kind that is a number",
        manifest("apiVersion: v1\nkind: 1"),
        "f.yaml:2:7: error: kind isn't string type",
    ),
    Case(
        "a kind in lower case",
        manifest("apiVersion: networking.k8s.io/v1\nkind: networkpolicy\nmetadata: {name: p}"),
        (
            'f.yaml:2:7: error: kind: no matches for kind "networkpolicy" in version "networking.k8s.io/v1" '
            "(did you mean NetworkPolicy?)"
        ),
    ),
    Case(
        "a kind in the plural",
        manifest("apiVersion: networking.k8s.io/v1\nkind: NetworkPolicies\nmetadata: {name: p}"),
        (
            'f.yaml:2:7: error: kind: no matches for kind "NetworkPolicies" in version "networking.k8s.io/v1" '
            "(did you mean NetworkPolicy?)"
        ),
    ),
    Case(
        "a misspelt kind",
        manifest("apiVersion: apps/v1\nkind: Deploymnet\nmetadata: {name: p}"),
        ('f.yaml:2:7: error: kind: no matches for kind "Deploymnet" in version "apps/v1" (did you mean Deployment?)'),
    ),
    Case(
        "a version that never was",
        manifest("apiVersion: networking.k8s.io/v1beta1\nkind: NetworkPolicy\nmetadata: {name: p}"),
        (
            'f.yaml:1:13: error: apiVersion: no matches for kind "NetworkPolicy" in version '
            '"networking.k8s.io/v1beta1" (write apiVersion: networking.k8s.io/v1)'
        ),
    ),
    Case(
        "a group without a version",
        manifest("apiVersion: networking.k8s.io\nkind: NetworkPolicy\nmetadata: {name: p}"),
        (
            'f.yaml:1:13: error: apiVersion: no matches for kind "NetworkPolicy" in version "networking.k8s.io" '
            "(write apiVersion: networking.k8s.io/v1)"
        ),
    ),
    Case(
        "a version without its group",
        manifest("apiVersion: v1\nkind: Deployment\nmetadata: {name: d}"),
        (
            'f.yaml:1:13: error: apiVersion: no matches for kind "Deployment" in version "v1" (write '
            "apiVersion: apps/v1)"
        ),
    ),
    Case(
        "a group in upper case",
        manifest("apiVersion: Networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: p}"),
        (
            'f.yaml:1:13: error: apiVersion: no matches for kind "NetworkPolicy" in version '
            '"Networking.k8s.io/v1" (write apiVersion: networking.k8s.io/v1)'
        ),
    ),
    Case(
        "a group without a dot, as no custom resource has it",
        manifest("apiVersion: networking/v1\nkind: NetworkPolicy\nmetadata: {name: p}"),
        (
            'f.yaml:1:13: error: apiVersion: no matches for kind "NetworkPolicy" in version "networking/v1" (write '
            "apiVersion: networking.k8s.io/v1)"
        ),
    ),
    Case(
        "a version of three parts",
        manifest("apiVersion: a/b/c\nkind: NetworkPolicy\nmetadata: {name: p}"),
        "f.yaml:1:13: error: apiVersion: unexpected GroupVersion string: a/b/c (it is GROUP/VERSION, or v1)",
    ),
    Case(
        "a version with nothing behind the slash",
        manifest("apiVersion: networking.k8s.io/v1/\nkind: NetworkPolicy\nmetadata: {name: p}"),
        (
            "f.yaml:1:13: error: apiVersion: unexpected GroupVersion string: networking.k8s.io/v1/ (it is "
            "GROUP/VERSION, or v1)"
        ),
    ),
    Case(
        "a list without items",
        manifest("apiVersion: networking.k8s.io/v1\nkind: NetworkPolicyList"),
        "f.yaml:1:1: error: items: Required value (a list has its objects under items)",
    ),
    Case(
        "items that are a mapping",
        manifest("apiVersion: v1\nkind: List\nitems: {}"),
        "f.yaml:3:8: error: items: expected a list, found a mapping",
    ),
    Case(
        "a list in lower case",
        manifest("apiVersion: v1\nkind: list\nitems: []"),
        'f.yaml:2:7: error: kind: no matches for kind "list" in version "v1" (did you mean List?)',
    ),
    Case(
        "a list in a list without items",
        manifest("apiVersion: v1\nkind: List\nitems:\n- {apiVersion: v1, kind: List}"),
        "f.yaml:4:3: error: items: Required value (a list has its objects under items)",
    ),
    Case(
        "an item that is null",
        manifest("apiVersion: v1\nkind: List\nitems:\n- "),
        "f.yaml:4:2: error: expected a Kubernetes object, found null",
    ),
    Case(
        "an item that is a string",
        manifest("apiVersion: v1\nkind: List\nitems:\n- web"),
        'f.yaml:4:3: error: expected a Kubernetes object, found the string "web"',
    ),
    Case(
        "an item without a kind in a list of anything",
        manifest("apiVersion: v1\nkind: List\nitems:\n- metadata: {name: p}"),
        "f.yaml:4:3: error: apiVersion not set (every item of a List has an apiVersion and a kind of its own)",
        "f.yaml:4:3: error: kind not set (every item of a List has an apiVersion and a kind of its own)",
    ),
    Case(
        "a bad item in a typed list",
        manifest(
            "apiVersion: networking.k8s.io/v1\n"
            "kind: NetworkPolicyList\n"
            "items:\n"
            "- metadata: {name: p}\n"
            "- metadata: {name: Q}\n"
            "  spec: {ingress: [{to: []}]}"
        ),
        f'f.yaml:5:20: error: metadata.name: Invalid value: "Q": {SUBDOMAIN}',
        'f.yaml:6:21: error: unknown field "spec.ingress[0].to" (did you mean from?)',
    ),
    Case(
        "no metadata",
        manifest("apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nspec: {}"),
        "f.yaml:1:1: error: metadata.name: Required value: name or generateName is required",
    ),
    Case(
        "metadata that is a list",
        manifest("apiVersion: v1\nkind: Namespace\nmetadata: [a]"),
        "f.yaml:3:11: error: metadata: expected a mapping, found a list",
    ),
    Case(
        "a name in upper case",
        manifest("apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: Web}"),
        f'f.yaml:3:18: error: metadata.name: Invalid value: "Web": {SUBDOMAIN}',
    ),
    Case(
        "a name that is a number",
        manifest("apiVersion: v1\nkind: Namespace\nmetadata: {name: 1}"),
        "f.yaml:3:18: error: metadata.name: expected a string, found the number 1 (put it in quotes)",
    ),
    Case(
        "a namespace that cannot be one",
        manifest("apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: p, namespace: a.b}"),
        'f.yaml:3:32: error: metadata.namespace: Invalid value: "a.b": must not contain dots',
    ),
    Case(
        "labels that cannot be labels",
        manifest("apiVersion: v1\nkind: Namespace\nmetadata:\n  name: shop\n  labels:\n    a b: c\n    team: x y"),
        f'f.yaml:6:5: error: metadata.labels: Invalid value: "a b": name part {NAME_PART}',
        f'f.yaml:7:5: error: metadata.labels: Invalid value: "x y": {VALUE}',
    ),
    Case(
        "a label that is a number",
        manifest("apiVersion: v1\nkind: Namespace\nmetadata: {name: shop, labels: {tier: 1}}"),
        "f.yaml:3:39: error: metadata.labels[tier]: expected a string, found the number 1 (put it in quotes)",
    ),
    Case(
        "annotations that are text",
        manifest("apiVersion: v1\nkind: Namespace\nmetadata: {name: shop, annotations: none}"),
        'f.yaml:3:37: error: metadata.annotations: expected a mapping, found the string "none"',
    ),
    Case(
        "a prefix for names in upper case",
        manifest("apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {generateName: Web-}"),
        f'f.yaml:3:26: error: metadata.generateName: Invalid value: "Web-": {SUBDOMAIN}',
    ),
    Case(
        "a finalizer without a domain",
        manifest("apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: p, finalizers: [mine]}"),
        (
            'f.yaml:3:34: error: metadata.finalizers[0]: Invalid value: "mine": name is neither a standard '
            "finalizer name nor is it fully qualified"
        ),
    ),
    Case(
        "an owner without anything",
        manifest(
            "apiVersion: networking.k8s.io/v1\n"
            "kind: NetworkPolicy\n"
            "metadata: {name: p, ownerReferences: [{controller: 'true'}]}"
        ),
        'f.yaml:3:39: error: metadata.ownerReferences.apiVersion: Invalid value: "": version must not be empty',
        'f.yaml:3:39: error: metadata.ownerReferences.kind: Invalid value: "": must not be empty',
        'f.yaml:3:39: error: metadata.ownerReferences.name: Invalid value: "": must not be empty',
        'f.yaml:3:39: error: metadata.ownerReferences.uid: Invalid value: "": must not be empty',
        (
            "f.yaml:3:52: error: metadata.ownerReferences[0].controller: expected true or false, found the "
            'string "true" (remove the quotes)'
        ),
    ),
    Case(
        "a time that is none",
        manifest("apiVersion: v1\nkind: Namespace\nmetadata: {name: shop, creationTimestamp: yesterday}"),
        (
            'f.yaml:3:43: error: metadata.creationTimestamp: expected a time like "2024-01-31T12:00:00Z", found '
            'the string "yesterday"'
        ),
    ),
    Case(
        "no peer in the old form",
        legacy("ingress:\n- from: [{}]"),
        "f.yaml:6:12: error: spec.ingress[0].from[0]: Required value: must specify a from type",
    ),
    Case(
        "two peers in one in the old form",
        legacy("ingress:\n- from:\n  - podSelector: {}\n    namespaceSelector: {}"),
        "f.yaml:7:7: error: spec.ingress[0].from[0]: Forbidden: may not specify more than 1 from type",
    ),
    Case(
        "a protocol the old form does not have",
        legacy("ingress:\n- ports: [{protocol: SCTP}]"),
        (
            'f.yaml:6:24: error: spec.ingress[0].ports[0].protocol: Unsupported value: "SCTP": supported '
            'values: "TCP", "UDP"'
        ),
    ),
    Case(
        "fields the old form does not have",
        legacy(
            "ingress:\n"
            "- from: [{ipBlock: {cidr: 10.0.0.0/8}}]\n"
            "  ports: [{port: 80, endPort: 90}]\n"
            "egress: []\n"
            "policyTypes: [Ingress]"
        ),
        (
            "f.yaml:6:13: error: spec.ingress[0].from[0].ipBlock: extensions/v1beta1 had no such field before "
            "Kubernetes 1.7 (--set legacy=v1 reads it with the meaning the API group had from 1.7 on)"
        ),
        (
            "f.yaml:7:24: error: spec.ingress[0].ports[0].endPort: extensions/v1beta1 had no such field before "
            "Kubernetes 1.7 (--set legacy=v1 reads it with the meaning the API group had from 1.7 on)"
        ),
        (
            "f.yaml:8:3: error: spec.egress: extensions/v1beta1 had no such field before Kubernetes 1.7 (--set "
            "legacy=v1 reads it with the meaning the API group had from 1.7 on)"
        ),
        (
            "f.yaml:9:3: error: spec.policyTypes: extensions/v1beta1 had no such field before Kubernetes 1.7 "
            "(--set legacy=v1 reads it with the meaning the API group had from 1.7 on)"
        ),
    ),
    Case(
        "a misspelt field in the old form",
        legacy("podselector: {}"),
        'f.yaml:5:3: error: unknown field "spec.podselector" (did you mean podSelector?)',
    ),
    Case(
        "a pod without containers",
        manifest("apiVersion: v1\nkind: Pod\nmetadata: {name: a}"),
        "f.yaml:1:1: error: spec.containers: Required value",
    ),
    Case(
        "a container without name and image",
        pod("containers: [{}]"),
        "f.yaml:5:16: error: spec.containers[0].name: Required value",
        "f.yaml:5:16: error: spec.containers[0].image: Required value",
    ),
    Case(
        "a container name with an underscore",
        pod("containers: [{name: a_b, image: i}]"),
        f'f.yaml:5:23: error: spec.containers[0].name: Invalid value: "a_b": {DNS_LABEL}',
    ),
    Case(
        "two containers of one name",
        pod("containers: [{name: a, image: i}]\ninitContainers: [{name: a, image: i}]"),
        'f.yaml:6:27: error: spec.initContainers[0].name: Duplicate value: "a"',
    ),
    Case(
        "a container port in quotes",
        pod("containers: [{name: a, image: i, ports: [{containerPort: '80'}]}]"),
        (
            "f.yaml:5:60: error: spec.containers[0].ports[0].containerPort: expected a number, found the string "
            '"80" (remove the quotes)'
        ),
    ),
    Case(
        "a container port that is none",
        pod("containers: [{name: a, image: i, ports: [{containerPort: 70000, hostPort: -1}, {name: x}]}]"),
        (
            "f.yaml:5:60: error: spec.containers[0].ports[0].containerPort: Invalid value: 70000: must be "
            "between 1 and 65535, inclusive"
        ),
        (
            "f.yaml:5:77: error: spec.containers[0].ports[0].hostPort: Invalid value: -1: must be between 1 and "
            "65535, inclusive"
        ),
        "f.yaml:5:82: error: spec.containers[0].ports[1].containerPort: Required value",
    ),
    Case(
        "two container ports of one name",
        pod(
            "containers: [{name: a, image: i, ports: [{containerPort: 80, name: http}, {containerPort: 81, name: http}]}]"
        ),
        'f.yaml:5:103: error: spec.containers[0].ports[1].name: Duplicate value: "http"',
    ),
    Case(
        "a container's protocol in lower case",
        pod("containers: [{name: a, image: i, ports: [{containerPort: 80, protocol: udp}]}]"),
        (
            'f.yaml:5:74: error: spec.containers[0].ports[0].protocol: Unsupported value: "udp": supported '
            'values: "SCTP", "TCP", "UDP" (write UDP)'
        ),
    ),
    Case(
        "a command that is a string",
        pod("containers: [{name: a, image: i, command: sleep}]"),
        ('f.yaml:5:45: error: spec.containers[0].command: expected a list, found the string "sleep" (write ["sleep"])'),
    ),
    Case(
        "a variable that is a number",
        pod("containers: [{name: a, image: i, env: [{name: N, value: 1}]}]"),
        "f.yaml:5:49: error: spec.containers[0].env[0].name: expected a string, found false (put it in quotes)",
        (
            "f.yaml:5:59: error: spec.containers[0].env[0].value: expected a string, found the number 1 (put it "
            "in quotes)"
        ),
    ),
    Case(
        "a restart policy in lower case",
        pod("containers: [{name: a, image: i}]\nrestartPolicy: always"),
        (
            'f.yaml:6:18: error: spec.restartPolicy: Unsupported value: "always": supported values: "Always", '
            '"OnFailure", "Never" (write Always)'
        ),
    ),
    Case(
        "host network in quotes",
        pod("containers: [{name: a, image: i}]\nhostNetwork: 'true'"),
        ('f.yaml:6:16: error: spec.hostNetwork: expected true or false, found the string "true" (remove the quotes)'),
    ),
    Case(
        "a service without ports",
        service("selector: {app: web}"),
        "f.yaml:5:3: error: spec.ports: Required value",
    ),
    Case(
        "a service port in quotes",
        service("ports: [{port: '80'}]"),
        'f.yaml:5:18: error: spec.ports[0].port: expected a number, found the string "80" (remove the quotes)',
    ),
    Case(
        "a service port 0",
        service("ports: [{port: 0}]"),
        "f.yaml:5:18: error: spec.ports[0].port: Invalid value: 0: must be between 1 and 65535, inclusive",
        "f.yaml:5:18: error: spec.ports[0].targetPort: Invalid value: 0: must be between 1 and 65535, inclusive",
    ),
    Case(
        "a target port in quotes",
        service("ports: [{port: 80, targetPort: '8080'}]"),
        (
            'f.yaml:5:34: error: spec.ports[0].targetPort: Invalid value: "8080": must contain at least one '
            "letter (a-z) (remove the quotes)"
        ),
    ),
    Case(
        "service ports without names",
        service("ports: [{port: 80}, {port: 443}]"),
        "f.yaml:5:11: error: spec.ports[0].name: Required value",
        "f.yaml:5:23: error: spec.ports[1].name: Required value",
    ),
    Case(
        "one service port twice",
        service("ports: [{port: 80, name: a}, {port: 80, name: b}]"),
        (
            "f.yaml:5:32: error: spec.ports[1]: Duplicate value: "
            '{"Name":"","Protocol":"TCP","AppProtocol":null,"Port":80,"TargetPort":0,"NodePort":0}'
        ),
    ),
    Case(
        "a service type in lower case",
        service("type: nodePort\nports: [{port: 80}]"),
        (
            'f.yaml:5:9: error: spec.type: Unsupported value: "nodePort": supported values: "ClusterIP", '
            '"ExternalName", "LoadBalancer", "NodePort" (write NodePort)'
        ),
    ),
    Case(
        "a cluster address that is none",
        service("clusterIP: web\nports: [{port: 80}]"),
        (
            'f.yaml:5:14: error: spec.clusterIPs[0]: Invalid value: "web": must be a valid IP address, (e.g. '
            "10.9.8.7 or 2001:db8::ffff)"
        ),
    ),
    Case(
        "a service selector with an expression",
        service("selector: {matchLabels: {app: web}}\nports: [{port: 80}]"),
        "f.yaml:5:27: error: spec.selector[matchLabels]: expected a string, found a mapping",
    ),
    Case(
        "a deployment without a selector",
        deployment("template: {metadata: {labels: {app: d}}, spec: {containers: [{name: a, image: i}]}}"),
        "f.yaml:5:3: error: spec.selector: Required value",
        (
            'f.yaml:5:33: error: spec.template.metadata.labels: Invalid value: {"app":"d"}: `selector` does not '
            "match template `labels`"
        ),
    ),
    Case(
        "a selector that misses the template",
        deployment(
            "selector: {matchLabels: {app: x}}\n"
            "template: {metadata: {labels: {app: d}}, spec: {containers: [{name: a, image: i}]}}"
        ),
        (
            'f.yaml:6:33: error: spec.template.metadata.labels: Invalid value: {"app":"d"}: `selector` does not '
            "match template `labels`"
        ),
    ),
    Case(
        "a label in the template that is a number",
        deployment(
            "selector: {matchLabels: {app: '1'}}\n"
            "template: {metadata: {labels: {app: 1}}, spec: {containers: [{name: a, image: i}]}}"
        ),
        (
            "f.yaml:6:39: error: spec.template.metadata.labels[app]: expected a string, found the number 1 (put "
            "it in quotes)"
        ),
    ),
    Case(
        "an empty selector",
        deployment("selector: {}\ntemplate: {metadata: {labels: {app: d}}, spec: {containers: [{name: a, image: i}]}}"),
        "f.yaml:5:13: error: spec.selector: Invalid value: {}: empty selector is invalid for deployment",
    ),
    Case(
        "replicas in quotes",
        deployment(
            "replicas: '3'\n"
            "selector: {matchLabels: {app: d}}\n"
            "template: {metadata: {labels: {app: d}}, spec: {containers: [{name: a, image: i}]}}"
        ),
        'f.yaml:5:13: error: spec.replicas: expected a number, found the string "3" (remove the quotes)',
    ),
    Case(
        "fewer replicas than none",
        deployment(
            "replicas: -1\n"
            "selector: {matchLabels: {app: d}}\n"
            "template: {metadata: {labels: {app: d}}, spec: {containers: [{name: a, image: i}]}}"
        ),
        "f.yaml:5:13: error: spec.replicas: Invalid value: -1: must be greater than or equal to 0",
    ),
    Case(
        "a deployment without a template",
        deployment("selector: {matchLabels: {app: d}}"),
        (
            "f.yaml:5:3: error: spec.template.metadata.labels: Invalid value: null: `selector` does not match "
            "template `labels`"
        ),
        "f.yaml:5:3: error: spec.template.spec.containers: Required value",
    ),
    Case(
        "a job that always restarts",
        manifest(
            "apiVersion: batch/v1\n"
            "kind: Job\n"
            "metadata: {name: j}\n"
            "spec:\n"
            "  template: {spec: {containers: [{name: a, image: i}]}}"
        ),
        'f.yaml:5:20: error: spec.template.spec.restartPolicy: Required value: valid values: "OnFailure", "Never"',
    ),
    Case(
        "a cron job without containers",
        manifest(
            "apiVersion: batch/v1\n"
            "kind: CronJob\n"
            "metadata: {name: j}\n"
            "spec:\n"
            "  jobTemplate: {spec: {template: {spec: {restartPolicy: Never}}}}"
        ),
        "f.yaml:5:41: error: spec.jobTemplate.spec.template.spec.containers: Required value",
    ),
    Case(
        "a replication controller without a template",
        manifest("apiVersion: v1\nkind: ReplicationController\nmetadata: {name: r}\nspec: {replicas: 1}"),
        "f.yaml:4:7: error: spec.template: Required value",
    ),
    Case(
        "a replication controller whose selector misses its template",
        manifest(
            "apiVersion: v1\n"
            "kind: ReplicationController\n"
            "metadata: {name: r}\n"
            "spec:\n"
            "  selector: {app: x}\n"
            "  template: {metadata: {labels: {app: d}}, spec: {containers: [{name: a, image: i}]}}"
        ),
        (
            'f.yaml:6:33: error: spec.template.metadata.labels: Invalid value: {"app":"d"}: `selector` does not '
            "match template `labels`"
        ),
    ),
    Case(
        "a replication controller without any labels",
        manifest(
            "apiVersion: v1\n"
            "kind: ReplicationController\n"
            "metadata: {name: r}\n"
            "spec:\n"
            "  template: {spec: {containers: [{name: a, image: i}]}}"
        ),
        "f.yaml:5:3: error: spec.selector: Required value",
    ),
    Case(
        "a daemon set without a selector",
        manifest(
            "apiVersion: apps/v1\n"
            "kind: DaemonSet\n"
            "metadata: {name: d}\n"
            "spec:\n"
            "  template: {metadata: {labels: {app: d}}, spec: {containers: [{name: a, image: i}]}}"
        ),
        (
            'f.yaml:5:33: error: spec.template.metadata.labels: Invalid value: {"app":"d"}: `selector` does not '
            "match template `labels`"
        ),
    ),
    Case(
        "a selector with an operator that is none",
        deployment(
            "selector: {matchExpressions: [{key: app, operator: Equals, values: [d]}]}\n"
            "template: {metadata: {labels: {app: d}}, spec: {containers: [{name: a, image: i}]}}"
        ),
        (
            'f.yaml:5:54: error: spec.selector.matchExpressions[0].operator: Invalid value: "Equals": not a '
            "valid selector operator (the operators are In, NotIn, Exists and DoesNotExist)"
        ),
    ),
    Case(
        "a stateful set without a spec",
        manifest("apiVersion: apps/v1\nkind: StatefulSet\nmetadata: {name: s}"),
        "f.yaml:1:1: error: spec.selector: Required value",
        (
            "f.yaml:1:1: error: spec.template.metadata.labels: Invalid value: null: `selector` does not match "
            "template `labels`"
        ),
        "f.yaml:1:1: error: spec.template.spec.containers: Required value",
    ),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_everything_wrong_is_told_in_file_order(case: Case) -> None:
    documents, problems = parse(case.manifest.encode(), "f.yaml")
    more = decode(documents).problems
    assert [str(problem) for problem in problems + more] == list(case.messages)
