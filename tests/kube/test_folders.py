# SPDX-License-Identifier: Apache-2.0
"""A folder is read as people have it: what is no manifest is left out and counted, and what may hide a policy is told."""

from __future__ import annotations

import gzip
import os
from typing import TYPE_CHECKING

import pytest

from podfence.errors import InputError
from podfence.kube import folders
from podfence.kube.folders import Exclusion
from podfence.kube.load import Loaded, load

if TYPE_CHECKING:
    from pathlib import Path

POD = "apiVersion: v1\nkind: Pod\nmetadata: {name: web, namespace: shop}\nspec: {containers: [{name: c, image: i}]}\n"
POLICY = "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: p, namespace: shop}\nspec: {podSelector: {}}\n"
DEPLOYMENT = (
    "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web, namespace: shop}\n"
    "spec: {selector: {matchLabels: {a: b}}, template: {metadata: {labels: {a: b}}, spec: {containers: [{name: c, image: i}]}}}\n"
)
TEMPLATE = "{{- if .Values.on }}\n" + POD + "{{- end }}\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make the current folder one with a pod in it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "pod.yaml").write_text(POD)
    return tmp_path / "d"


LONG = "# a line\n" * 200_000
"""More than a megabyte that says nothing."""


def write(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def names(loaded: Loaded) -> list[str]:
    return [f"{item.key.kind} {item.key.name}" for item in loaded.objects]


LEFT_OUT = [
    ("a file without objects", {"values.yaml": "port: 80\n"}, "1 file or document without a Kubernetes object (d/values.yaml)", False),
    ("a document without kind", {"a.yaml": "apiVersion: v2\nname: chart\n"}, "1 file or document without a Kubernetes object (d/a.yaml)", False),
    ("a document without apiVersion", {"a.yaml": "kind: Cluster\nnodes: []\n# apiVersion\n"}, "1 file or document without a Kubernetes object (d/a.yaml)", False),
    ("a list", {"a.json": '[{"op": "add", "path": "/apiVersion"}]'}, "1 file or document without a Kubernetes object (d/a.json)", False),
    ("a text", {"a.yaml": "apiVersion\n"}, "1 file or document without a Kubernetes object (d/a.yaml)", False),
    ("one document among objects", {"a.yaml": DEPLOYMENT + "---\njust: values\n"}, "1 file or document without a Kubernetes object (d/a.yaml:6)", False),
    ("JSON with comments and no object", {"tsconfig.json": '{ // the compiler\n"a": 1 }'}, "1 file or document without a Kubernetes object (d/tsconfig.json)", False),
    ("a chart without policies", {"c/Chart.yaml": "apiVersion: v2\nname: c\n", "c/templates/a.yaml": TEMPLATE}, "1 chart that is not rendered (d/c)", False),
    ("a chart with policies", {"c/Chart.yaml": "apiVersion: v2\nname: c\n", "c/templates/a.tpl": "NetworkPolicy"}, "1 chart that is not rendered (d/c)", True),
    ("a template without policies", {"a.yaml": TEMPLATE}, "1 template that is not rendered (d/a.yaml)", False),
    ("a template with a policy", {"a.yaml": "{{ if x }}\n" + POLICY}, "1 template that is not rendered (d/a.yaml)", True),
    ("a template of Jinja's", {"a.yaml": "{% if x %}\n" + POLICY}, "1 template that is not rendered (d/a.yaml)", True),
    ("a kustomization's patch", {"kustomization.yaml": "patches: [{path: p/web.yaml}]\n", "p/web.yaml": DEPLOYMENT}, "1 patch of a kustomization (d/p/web.yaml)", False),
    ("an older kustomization's patch", {"Kustomization": "patchesStrategicMerge: [w.yaml]\n", "w.yaml": DEPLOYMENT}, "1 patch of a kustomization (d/w.yaml)", False),
    ("a patch of a policy", {"kustomization.yml": "patches: [{path: w.yaml}]\n", "w.yaml": POLICY}, "1 patch of a kustomization (d/w.yaml)", True),
    ("a patch in another folder", {"o/kustomization.yaml": "patchesJson6902: [{path: ../b/w.yaml}]\n", "b/w.yaml": "[{op: add} ] # apiVersion\n"}, "1 patch of a kustomization (d/b/w.yaml)", False),
    ("a loose patch", {"kustomization.yaml": "resources: [pod.yaml]\n", "web_patch.yaml": DEPLOYMENT}, "1 patch of a kustomization (d/web_patch.yaml)", False),
    ("a loose patch in a folder of them", {"kustomization.yaml": "resources: [pod.yaml]\n", "patches/web.yaml": DEPLOYMENT}, "1 patch of a kustomization (d/patches/web.yaml)", False),
    ("a name that has patch in it by chance", {"kustomization.yaml": "resources: [pod.yaml]\n", "dispatch.yaml": DEPLOYMENT}, "", False),
    ("a resource that is called a patch", {"kustomization.yaml": "resources: [web-patch.yaml]\n", "web-patch.yaml": DEPLOYMENT}, "", False),
    ("a kustomization that patches a policy", {"kustomization.yaml": "patches: [{target: {kind: NetworkPolicy}, patch: x}]\n"}, "", True),
    ("an object in a file called like a kustomization", {"kustomization.yaml": DEPLOYMENT}, "", False),
    ("folders of tools", {".github/w.yaml": POLICY, "node_modules/x/a.yaml": POLICY, ".git/c.yaml": "a: 1"}, "3 folders of tools (d/.git, d/.github, d/node_modules)", False),
]  # fmt: skip


# What is in the folder `charts` of a chart: the name of a file, and the tar archive or whatever else it is.
PACKED = [
    ("a packed subchart with policies", "s.tgz", gzip.compress(b"s/templates/np.yaml\0kind: NetworkPolicy"), True),
    ("a packed subchart without", "s.tgz", gzip.compress(b"s/templates/a.yaml\0kind: Service"), False),
    ("a packed subchart that is broken", "s.tgz", gzip.compress(b"kind: Service" * 1000)[:-20], True),
    ("a packed subchart that is none", "s.tgz", b"kind: Service", True),
    ("a subchart with policies", "s/templates/np.yaml", b"kind: NetworkPolicy", True),
    ("a subchart without", "s/templates/a.yaml", b"kind: Service", False),
]


@pytest.mark.parametrize("beside", ["templates/a.yaml", "values.yaml"])
@pytest.mark.parametrize(("name", "data", "hides"), [case[1:] for case in PACKED], ids=[case[0] for case in PACKED])
def test_subcharts_of_a_chart_may_hide_policies(folder: Path, name: str, data: bytes, hides: bool, beside: str) -> None:
    write(folder, {"c/Chart.yaml": "apiVersion: v2\nname: c\n", f"c/{beside}": "a: {{ b }}\n", f"c/charts/{name}": ""})
    (folder / "c/charts" / name).write_bytes(data)

    loaded = load(["d"], recursive=True)

    assert "1 chart that is not rendered (d/c)" in loaded.notes[0]
    assert [str(gap) for gap in loaded.gaps] == (
        ["chart d/c is not rendered and has policies (--helm d/c renders it)"] if hides else []
    )


@pytest.mark.parametrize(
    ("files", "note", "hides"), [case[1:] for case in LEFT_OUT], ids=[case[0] for case in LEFT_OUT]
)
def test_what_is_no_manifest_is_left_out_and_counted(
    folder: Path, files: dict[str, str], note: str, hides: bool
) -> None:
    write(folder, files)
    loaded = load(["d"], recursive=True, validation="answer")

    assert (note in loaded.notes[0]) if note else not loaded.details
    assert "Pod web" in names(loaded)
    assert bool(loaded.gaps) is hides
    assert loaded.warnings == ()


def test_notes_are_one_line_with_the_first_names_and_the_details_name_all(folder: Path) -> None:
    write(folder, {f"v{number}.yaml": "a: 1\n" for number in range(5)})
    loaded = load(["d"])
    assert loaded.notes == (
        "left out: 5 files or documents without a Kubernetes object (d/v0.yaml, d/v1.yaml, d/v2.yaml, …); -v names them all",
    )
    assert loaded.details == (
        "left out, files or documents without a Kubernetes object: d/v0.yaml, d/v1.yaml, d/v2.yaml, d/v3.yaml, d/v4.yaml",
    )


def test_pipes_devices_large_files_and_links_that_lead_out_are_not_opened(folder: Path, tmp_path: Path) -> None:
    os.mkfifo(folder / "pipe.yaml")
    (folder / "null.yaml").symlink_to("/dev/null")
    (tmp_path / "outside.yaml").write_text(POLICY)
    (folder / "out.yaml").symlink_to(tmp_path / "outside.yaml")
    (folder / "nowhere.yaml").symlink_to("nothing")
    (folder / "loop.yaml").symlink_to("loop.yaml")
    (folder / "circle").symlink_to(".")
    (folder / "inside.yaml").symlink_to("pod.yaml")
    with (folder / "large.yaml").open("wb") as file:
        file.truncate(folders.SIZE_LIMIT + 1)
    loaded = load(["d"], recursive=True)

    assert names(loaded) == ["Pod web"]
    assert loaded.notes == (
        (
            "left out: 5 links that were not followed (d/circle, d/loop.yaml, d/nowhere.yaml, …); "
            "2 files that are pipes, devices or too large (d/large.yaml, d/pipe.yaml); -v names them all"
        ),
    )
    assert [gap.what for gap in loaded.gaps] == [
        "d/large.yaml is too large to be read",
        "link d/out.yaml leads out of d and was not followed",
    ]


def test_a_link_hides_no_policy_if_what_it_leads_to_is_read_or_nothing_is_there(folder: Path, tmp_path: Path) -> None:
    write(tmp_path / "other", {"p.yaml": POLICY})
    (folder / "p.yaml").symlink_to(tmp_path / "other" / "p.yaml")
    (folder / "other").symlink_to(tmp_path / "other")

    assert [gap.what for gap in load(["d"], recursive=True).gaps] == [
        "link d/other leads out of d and was not followed",
        "link d/p.yaml leads out of d and was not followed",
    ]
    assert load(["d", "other"], recursive=True).gaps == ()
    assert load(["d"], recursive=True, exclude=[Exclusion(("other", "p.yaml"))]).gaps == ()


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("apiVersion: [\n", "d/a.yaml:1:14: error: did not find expected node content (close the bracket)"),
        ("kind: NetworkPolicy\nspec: {podSelector: {}}\n", "d/a.yaml:1:1: error: apiVersion not set (write apiVersion: networking.k8s.io/v1)"),
        ("apiVersion: v1\nmetadata: {name: x}\n", "d/a.yaml:1:1: error: kind not set (leave the file out if it holds no Kubernetes objects)"),
        (POLICY.replace("name: p", "name: '${NAME}'"), "d/a.yaml:3:18: error: metadata.name: Invalid value"),
        (POLICY.replace("spec: {", "spec: {podSelektor: {}, "), 'd/a.yaml:4:8: error: unknown field "spec.podSelektor"'),
    ],
    ids=["what does not parse", "a kind without a version", "a version without a kind", "a placeholder", "a misspelling"],
)  # fmt: skip
def test_what_may_hide_a_policy_is_an_error_and_with_keep_going_a_gap(folder: Path, text: str, error: str) -> None:
    write(folder, {"a.yaml": text})
    with pytest.raises(InputError) as caught:
        load(["d"])
    assert str(caught.value.problems[0]).startswith(error)

    loaded = load(["d"], keep_going=True)
    assert names(loaded) == ["Pod web"]
    assert loaded.gaps
    assert "left out: " in str(loaded.warnings[0])


@pytest.mark.parametrize("text", ["${NAME}", "$(NAME)", "_", "<name>", "%NAME%", "{{ name }}", "__NAME__"])
def test_a_placeholder_is_told_from_a_wrong_name(folder: Path, text: str) -> None:
    write(folder, {"a.yaml": POLICY.replace("name: p", f"name: '{text}'")})
    with pytest.raises(InputError, match="this looks like a template: render it first"):
        load(["d"])


def test_a_namespace_with_a_placeholder_for_a_name_is_left_out_and_a_gap(folder: Path) -> None:
    text = "apiVersion: v1\nkind: Namespace\nmetadata: {name: _, labels: {team: a}}\n"
    write(folder, {"a.yaml": text})
    loaded = load(["d"])
    assert names(loaded) == ["Pod web"]
    (gap,) = loaded.gaps
    assert "the labels of a namespace are not known, because Namespace _ (d/a.yaml:3) is a template" in str(gap)
    assert gap.touches(["shop"])
    with pytest.raises(InputError, match="this looks like a template: render it first"):
        load(["d/a.yaml"])


def test_a_refused_object_of_a_known_namespace_touches_that_namespace_alone(folder: Path) -> None:
    write(folder, {"a.yaml": POLICY.replace("{}}", "{}, ingress: 1}")})
    (gap,) = load(["d"], keep_going=True).gaps
    assert gap.touches(["shop"])
    assert not gap.touches(["other"])


def test_keep_going_keeps_the_sound_documents_of_a_broken_file(folder: Path) -> None:
    write(folder, {"a.yaml": DEPLOYMENT + "---\napiVersion: [\n"})
    loaded = load(["d"], keep_going=True)
    assert names(loaded) == ["Deployment web", "Pod web"]
    assert [str(gap) for gap in loaded.gaps] == ["d/a.yaml cannot be read"]


def test_a_file_that_is_named_stays_strict(folder: Path) -> None:
    write(folder, {"values.yaml": "a: 1\n", "broken.yaml": "apiVersion: [\n"})
    for name in ("d/values.yaml", "d/broken.yaml"):
        with pytest.raises(InputError):
            load(["d", name], keep_going=True, exclude=[Exclusion(("broken.yaml", "values.yaml"))])


@pytest.mark.parametrize(
    ("patterns", "read"),
    [
        (("broken.yaml",), ["Deployment web", "Pod web"]),
        (("*.yaml", "!pod.yaml"), ["Pod web"]),
        (("/broken.yaml", "sub/"), ["Pod web"]),
        (("broken.*", "sub/*.yaml"), ["Pod web"]),
        (("broken.yaml", "/web.yaml"), ["Deployment web", "Pod web"]),
    ],
)
def test_excluded_patterns_are_those_of_gitignore(folder: Path, patterns: tuple[str, ...], read: list[str]) -> None:
    write(folder, {"broken.yaml": "apiVersion: [\n", "sub/web.yaml": DEPLOYMENT})
    loaded = load(["d"], recursive=True, exclude=[Exclusion(patterns)])
    assert sorted(names(loaded)) == read
    assert "excluded" in loaded.notes[0]


def test_patterns_of_a_base_are_read_in_that_folder(folder: Path, tmp_path: Path) -> None:
    write(folder, {"sub/web.yaml": DEPLOYMENT})
    assert names(load(["d"], recursive=True, exclude=[Exclusion(("/d/sub",), str(tmp_path))])) == ["Pod web"]
    assert len(names(load(["d"], recursive=True, exclude=[Exclusion(("/sub",), str(tmp_path))]))) == 2


def test_excluding_everything_leaves_nothing_to_answer_about(folder: Path) -> None:
    with pytest.raises(InputError, match=r"holds no object.*1 excluded file or folder"):
        load(["d"], exclude=[Exclusion(("*",))])


def test_subfolders_that_were_not_read_are_counted(folder: Path) -> None:
    write(
        folder, {"a/x.yaml": POLICY, "a/b/y.yaml": POLICY, "c/z.yaml": "v: 1\n", "e/readme.md": "", ".git/g.yaml": ""}
    )
    assert load(["d"]).notes == ("2 subfolders with 3 manifests were not read (-R reads them)",)
    assert load(["d"], recursive=True).notes[0].startswith("left out: 1 file or document")


@pytest.mark.parametrize(
    ("deeper", "paths", "gaps"),
    [
        ({"a/b/x.yaml": POLICY}, ["d"], ["subfolders of d have policies and were not read (-R reads them)"]),
        ({"a/x.yaml": POLICY}, ["d", "d/a"], []),
        ({"a/x.yaml": POLICY}, ["d/a/x.yaml", "d"], []),
        ({"a/x.yaml": DEPLOYMENT, ".hidden/x.yaml": POLICY}, ["d"], []),
        (
            {"a/x.yaml": f"{LONG}{POLICY}"},
            ["d"],
            ["subfolders of d have policies and were not read (-R reads them)"],
        ),
        ({"a/x.yaml": POLICY.replace("NetworkPolicy", "CiliumNetworkPolicy"), "a/empty.yaml": ""}, ["d"], []),
    ],
)
def test_an_answer_is_incomplete_where_subfolders_that_were_not_read_have_policies(
    folder: Path, deeper: dict[str, str], paths: list[str], gaps: list[str]
) -> None:
    """A shop was open whose policies lay one folder deeper."""
    write(folder, {"pod.yaml": DEPLOYMENT, **deeper})
    assert [str(gap) for gap in load(paths).gaps] == gaps
    assert load(paths, recursive=True).gaps == ()


@pytest.mark.parametrize(
    ("files", "path", "message"),
    [
        ({"k/kustomization.yaml": "resources: [../x]\n"}, "d/k", "holds only kustomizations and what they are made of"),
        (
            {"c/Chart.yaml": "name: c\n", "c/templates/a.yaml": "{{ x }}"},
            "d/c",
            "--helm d/c reads it as helm renders it",
        ),
        (
            {"c/Chart.yaml": "name: c\n", "c/templates/a.yaml": "{{ x }}"},
            "d/c/templates/",
            "1 chart that is not rendered (d/c) (--helm d/c reads it as helm renders it)",
        ),
        ({"v/values.yaml": "a: 1\n"}, "d/v", "1 file or document without a Kubernetes object"),
        ({"v/x/pod.yaml": POD, "v/values.yaml": "a: 1"}, "d/v", "its subfolders have some; add -R to read them"),
    ],
)
def test_a_folder_without_objects_says_what_it_holds(
    folder: Path, files: dict[str, str], path: str, message: str
) -> None:
    write(folder, files)
    with pytest.raises(InputError) as caught:
        load([path])
    assert message in str(caught.value)


def test_kustomizations_that_change_something_are_said_not_to_be_applied(folder: Path) -> None:
    write(
        folder,
        {
            "kustomization.yaml": "namespace: prod\nresources: [pod.yaml]\n",
            "b/kustomization.yaml": "resources: [x.yaml]\n",
        },
    )
    (note,) = load(["d"], recursive=True).notes
    assert note.endswith("kustomization d are not applied: the files are read as they are written (-k d renders it)")


SERVICE = "apiVersion: v1\nkind: Service\nmetadata: {name: s, namespace: shop}\nspec: {selector: {a: b}, ports: [{port: 80}]}\n"
BARE_POD = POD.replace(", namespace: shop", "")
BARE_POLICY = POLICY.replace(", namespace: shop", "")
ASKING_POLICY = BARE_POLICY.replace(
    "podSelector: {}", "ingress: [{from: [{namespaceSelector: {matchLabels: {a: b}}}]}]"
)
ONLY_POLICY = "namespace: shop\nresources: [p.yaml]\n"
WITH_POD = "namespace: prod\nresources: [p.yaml, q.yaml, pod.yaml]\n"
LABELS = "labels: [{pairs: {a: b}, includeSelectors: true}]\nresources: [p.yaml]\n"
UNAPPLIED: list[tuple[str, dict[str, str], set[str] | None]] = [
    ("a policy would go to the pods it is about", {"kustomization.yaml": ONLY_POLICY, "p.yaml": BARE_POLICY}, {"default", "shop"}),
    ("a policy is where it would go", {"kustomization.yaml": ONLY_POLICY, "p.yaml": POLICY}, None),
    ("pods would leave a policy", {"kustomization.yaml": "namespace: prod\nresources: [pod.yaml]\n", "p.yaml": POLICY}, {"shop"}),
    ("pods would go, and there is no policy", {"kustomization.yaml": "namespace: prod\nresources: [pod.yaml]\n"}, None),
    ("a base would put it there", {"o/kustomization.yaml": "resources: [../b]\nnamespace: shop\n", "b/kustomization.yaml": "resources: [p.yaml]\n", "b/p.yaml": BARE_POLICY}, {"default", "shop"}),
    ("a component would", {"o/kustomization.yaml": "components: [../b]\nnamespace: shop\n", "b/kustomization.yaml": "kind: Component\napiVersion: kustomize.config.k8s.io/v1alpha1\nresources: [p.yaml]\n", "b/p.yaml": BARE_POLICY}, {"default", "shop"}),
    ("all of a namespace would be called another", {"kustomization.yaml": WITH_POD, "p.yaml": POLICY, "q.yaml": POD.replace("web", "api")}, None),
    ("a pod of it would stay", {"kustomization.yaml": WITH_POD, "p.yaml": POLICY, "q.yaml": POD.replace("web", "api"), "r.yaml": POD.replace("web", "db")}, {"shop", "prod"}),
    ("a policy asks for namespaces", {"kustomization.yaml": "namespace: prod\nresources: [p.yaml, q.yaml]\n", "p.yaml": ASKING_POLICY, "q.yaml": BARE_POD.replace("web", "api")}, {"default", "prod"}),
    ("selectors would have more labels", {"kustomization.yaml": LABELS, "p.yaml": POLICY}, {"shop"}),
    ("labels would be of the policy alone", {"kustomization.yaml": LABELS.replace("true", "false"), "p.yaml": POLICY}, None),
    ("pods would have a label that a policy asks for", {"kustomization.yaml": "commonLabels: {a: b}\nresources: [pod.yaml]\n", "p.yaml": POLICY.replace("{}", "{matchLabels: {a: b}}")}, {"shop"}),
    ("pods would have a label that a peer asks for", {"kustomization.yaml": "labels: [{pairs: {a: b}, includeTemplates: true}]\nresources: [pod.yaml]\n", "p.yaml": POLICY.replace("{}", "{}, ingress: [{from: [{podSelector: {matchLabels: {a: b}}}]}]")}, {"shop"}),
    ("pods would have a label that nothing asks for", {"kustomization.yaml": "commonLabels: {a: b}\nresources: [pod.yaml]\n", "p.yaml": POLICY}, None),
    ("a bare pod would have a label that a policy asks for", {"kustomization.yaml": "labels: [{pairs: {a: b}}]\nresources: [pod.yaml]\n", "p.yaml": POLICY.replace("{}", "{matchLabels: {a: b}}")}, {"shop"}),
    ("a namespace would have a label that a policy asks for", {"kustomization.yaml": "labels: [{pairs: {a: b}}]\nresources: [ns.yaml]\n", "ns.yaml": "apiVersion: v1\nkind: Namespace\nmetadata: {name: web}\n", "p.yaml": POLICY.replace("{}", "{}, ingress: [{from: [{namespaceSelector: {matchLabels: {a: b}}}]}]")}, {"web"}),
    ("a namespace would be called another", {"kustomization.yaml": "namespace: prod\nresources: [ns.yaml]\n", "ns.yaml": "apiVersion: v1\nkind: Namespace\nmetadata: {name: web, labels: {a: b}}\n", "p.yaml": POLICY.replace("{}", "{}, ingress: [{from: [{namespaceSelector: {matchLabels: {a: b}}}]}]")}, {"web", "prod"}),
    ("a Service would select a pod", {"kustomization.yaml": "labels: [{pairs: {a: b}}]\nresources: [pod.yaml]\n", "s.yaml": SERVICE}, {"shop"}),
    ("a Service would select a pod no more", {"kustomization.yaml": "commonLabels: {a: b}\nresources: [s.yaml]\n", "s.yaml": SERVICE.replace("{a: b}", "{app: web}"), "q.yaml": POD.replace("name: web", "labels: {app: web}, name: api")}, {"shop"}),
    ("it has the label already", {"kustomization.yaml": "commonLabels: {a: b}\nresources: [s.yaml]\n", "s.yaml": SERVICE}, None),
    ("labels, and there is no policy", {"kustomization.yaml": "commonLabels: {a: b}\nresources: [pod.yaml]\n"}, None),
]  # fmt: skip


@pytest.mark.parametrize(("files", "spaces"), [case[1:] for case in UNAPPLIED], ids=[case[0] for case in UNAPPLIED])
def test_a_kustomization_that_is_not_applied_is_a_gap_where_it_would_turn_answers(
    folder: Path, files: dict[str, str], spaces: set[str] | None
) -> None:
    write(folder, files)

    assert [set(gap.namespaces or ()) for gap in load(["d"], recursive=True).gaps] == ([spaces] if spaces else [])


def test_the_gap_of_a_policy_that_would_go_elsewhere_says_how_to_apply_it(folder: Path) -> None:
    write(folder, {"kustomization.yaml": ONLY_POLICY, "p.yaml": BARE_POLICY})

    (gap,) = load(["d"]).gaps
    assert str(gap) == "kustomization d puts objects into namespace shop and is not applied (-k d applies it)"
    assert load(["d"], namespace="shop").gaps == ()


def test_resources_in_the_network_are_said_not_to_be_read(folder: Path) -> None:
    write(
        folder,
        {"kustomization.yaml": "resources: [pod.yaml, 'https://x.org/a.yaml', 'github.com/a/b//c?ref=v1', ../b]\n"},
    )
    assert load(["d"]).notes == (
        "files that kustomizations name in the network were not read: github.com/a/b//c?ref=v1 and 1 more",
    )


def test_a_kustomization_that_does_not_parse_is_an_error_like_any_file(folder: Path) -> None:
    write(folder, {"kustomization.yaml": "apiVersion: kustomize.config.k8s.io/v1beta1\npatches: [\n"})
    with pytest.raises(InputError, match="did not find expected node content"):
        load(["d"])
    assert load(["d"], keep_going=True).gaps


def test_equal_objects_need_no_word_and_others_one_line_for_two_files(folder: Path) -> None:
    write(
        folder,
        {"a.yaml": POD + "---\n" + DEPLOYMENT, "b.yaml": (POD + "---\n" + DEPLOYMENT).replace("image: i", "image: j")},
    )
    (folder / "z.yaml").write_text(POD)
    loaded = load(["d"])
    assert [str(item).partition(": ")[2] for item in loaded.warnings] == [
        "warning: Pod shop/web replaces the one at d/a.yaml:3, and 1 more (give one of them another name or namespace)",
        "warning: Pod shop/web replaces the one at d/b.yaml:3 (give one of them another name or namespace)",
    ]


def test_what_no_answer_depends_on_is_one_line_for_an_object(folder: Path) -> None:
    write(
        folder,
        {
            "a.yaml": "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: w}\nspec: {template: {spec: {containers: [{ports: []}]}}}\n"
        },
    )
    loaded = load(["d"], validation="answer")
    assert len(loaded.warnings) == 1
    assert "no answer depends on" in str(loaded.warnings[0])


def test_without_forgiving_a_folder_is_read_as_kubectl_reads_it(folder: Path) -> None:
    write(folder, {"values.yaml": "a: 1\n"})
    with pytest.raises(InputError, match="apiVersion not set"):
        load(["d"], forgiving=False)
