"""What an operator installs from configs/: alerts and dashboard know our figures, Kubernetes starts our commands."""

import ast
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from meshd.api.guards import OPEN_PATHS
from meshd.config import load
from meshd.observe.metrics import METRICS
from protocol.envelope import REFUSALS

ROOT = Path(__file__).parent.parent
ALERTS = ROOT / "configs" / "alerts.yml"
DASHBOARD = ROOT / "configs" / "grafana-dashboard.json"
KUBERNETES = ROOT / "configs" / "kubernetes.yaml"
# Figures that are not ours: of Prometheus itself, and of every process.
OTHERS = {"up", "process_resident_memory_bytes", "process_cpu_seconds_total"}
LABELS = {"instance", "job"}
# A few of these: a start, a cut, a clock, another version, a bad link. Many are what MeshdFramesRefused tells of.
HARMLESS_REFUSALS = {
    *("too_short", "too_large", "bad_magic", "bad_version", "bad_header", "bad_body", "unknown_kind"),
    *("wrong_family", "not_admitted", "expired", "from_future", "old_life", "replayed", "echo"),
    *("outdated", "not_known", "unasked"),
}
PROMTOOL = shutil.which("promtool") or shutil.which("promtool", path=Path(sys.executable).parent)  # see .ci/promtool
needs_promtool = pytest.mark.skipif(PROMTOOL is None, reason="needs promtool on PATH (Debian package prometheus)")


def _known() -> dict[str, set[str]]:
    """Every series of ours and its labels."""
    found = {}
    for row in METRICS:
        ends = {"histogram": ("_bucket", "_sum", "_count"), "summary": ("_sum", "_count")}.get(row.kind, ("",))
        for end in ends:
            found[row.name + end] = {*row.labels, *LABELS, *({"le"} if end == "_bucket" else ())}
    return found


def _unknown(expr: str) -> list[str]:
    """Series and labels in an expression that nobody has."""
    known = _known()
    wrong = [name for name in re.findall(r"\b(?:meshd|process)_\w+", expr) if name not in known.keys() | OTHERS]
    for name, selectors in re.findall(r"(meshd_\w+)\{([^}]*)\}", expr):
        wrong += [f"{name}.{label}" for label in re.findall(r"(\w+)\s*[=!]", selectors) if label not in known[name]]
    return wrong


def unserved(told: str) -> list[str]:
    """What alerts and dashboard ask for and this text of `/metrics` does not have."""
    asked = {name for each in (_alerts(), json.loads(DASHBOARD.read_text())) for name in _named(each)}
    return sorted(name for name in asked if f"# TYPE {re.sub('_(bucket|sum|count)$', '', name)} " not in told)


def _named(of: object) -> Iterator[str]:
    for expr in _expressions(of):
        yield from re.findall(r"meshd_\w+", expr)


def _alerts() -> list[dict[str, Any]]:
    return [rule for group in yaml.safe_load(ALERTS.read_text())["groups"] for rule in group["rules"]]


def _expressions(of: object) -> Iterator[str]:
    """Every `expr` anywhere below."""
    if isinstance(of, dict):
        if isinstance(of.get("expr"), str):
            yield of["expr"]
        for each in of.values():
            yield from _expressions(each)
    elif isinstance(of, list):
        for each in of:
            yield from _expressions(each)


@pytest.mark.parametrize("rule", _alerts(), ids=lambda rule: rule["alert"])
def test_an_alert_watches_figures_that_exist_and_says_what_to_do(rule: dict[str, Any]) -> None:
    assert _unknown(rule["expr"]) == []
    assert rule["labels"]["severity"] in ("page", "ticket")
    assert rule["annotations"].keys() == {"summary", "description"}


def test_whatever_tells_of_an_attack_or_a_twin_has_an_alert_that_waits_for_no_second_time() -> None:
    once = [rule["expr"] for rule in _alerts() if "increase(" in rule["expr"] and "for" not in rule]
    named = {
        code
        for expr in once
        for codes in re.findall(r'frames_refused_total\{code=~?"([^"]+)"', expr)
        for code in codes.split("|")
    }
    assert named == set(REFUSALS) - HARMLESS_REFUSALS
    assert {kind for expr in once for kind in re.findall(r'kind="(\w+)"', expr)} >= {"peer_misbehaved", "name_conflict"}


def test_the_dashboard_shows_figures_that_exist_in_panels_that_do_not_overlap() -> None:
    board = json.loads(DASHBOARD.read_text())
    expressions = list(_expressions(board))
    assert len(expressions) > 20
    assert [wrong for expr in expressions for wrong in _unknown(expr)] == []
    ids = [panel["id"] for panel in board["panels"]]
    assert len(set(ids)) == len(ids)
    taken: set[tuple[int, int]] = set()
    for panel in board["panels"]:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & taken, panel["title"]
        assert at["x"] + at["w"] <= 24
        taken |= cells


def test_a_figure_that_nobody_has_is_found() -> None:
    assert _unknown('rate(meshd_nonsense_total[5m]) + meshd_peers{colour="red"}') == [
        "meshd_nonsense_total",
        "meshd_peers.colour",
    ]


@needs_promtool
@pytest.mark.parametrize("words", [("check", "rules", str(ALERTS)), ("test", "rules", str(ROOT / "tests/alerts.yml"))])
def test_promtool_accepts_the_rules_and_what_they_say(words: tuple[str, ...]) -> None:
    done = subprocess.run([str(PROMTOOL), *words], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def _kubernetes() -> dict[str, dict[str, Any]]:
    return {each["kind"]: each for each in yaml.safe_load_all(KUBERNETES.read_text())}


def _container() -> dict[str, Any]:
    (container,) = _kubernetes()["StatefulSet"]["spec"]["template"]["spec"]["containers"]
    found: dict[str, Any] = container
    return found


def test_the_parts_of_the_manifest_fit_each_other() -> None:
    made = _kubernetes()
    workload = made["StatefulSet"]["spec"]
    labels = workload["template"]["metadata"]["labels"]
    assert workload["selector"]["matchLabels"] == labels
    assert made["Service"]["spec"]["selector"] == labels
    assert made["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"] == labels
    assert workload["serviceName"] == made["Service"]["metadata"]["name"]
    container = _container()
    named = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert named == {port["name"]: port["port"] for port in made["Service"]["spec"]["ports"]}
    claims = {claim["metadata"]["name"] for claim in workload["volumeClaimTemplates"]}
    volumes = {volume["name"] for volume in workload["template"]["spec"]["volumes"]}
    assert {mount["name"] for mount in container["volumeMounts"]} == claims | volumes
    (listen,) = (each["value"] for each in container["env"] if each["name"] == "MESHD_API__LISTEN")
    for probe, path in (("startupProbe", "/healthz"), ("livenessProbe", "/healthz"), ("readinessProbe", "/readyz")):
        assert path in OPEN_PATHS
        assert f"'http://{listen}{path}'" in container[probe]["exec"]["command"][-1]
        ast.parse(container[probe]["exec"]["command"][-1])


def test_a_pod_is_nobody_special() -> None:
    spec = _kubernetes()["StatefulSet"]["spec"]["template"]["spec"]
    assert spec["securityContext"]["runAsNonRoot"]
    assert not spec["automountServiceAccountToken"]
    assert _container()["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


def test_the_settings_of_a_pod_are_ours() -> None:
    given = {each["name"]: str(each.get("value", "")).replace("$(POD)", "meshd-1") for each in _container()["env"]}
    settings = load(environ=given | {"MESHD_NATS__URLS": "nats://meshd-0.meshd:4222"}).settings
    assert settings.insecure
    assert (settings.node.name, settings.api.listen) == ("meshd-1", "127.0.0.1:8080")
    assert settings.nats.urls == ("nats://meshd-0.meshd:4222",)


@pytest.mark.parametrize(
    ("pod", "is_member", "runs"),
    [
        ("meshd-0", False, "start --nats-listen 0.0.0.0:4222 at "),
        ("meshd-1", False, "start --join secret at nats://meshd-0.meshd:4222"),
        ("meshd-1", True, "start at nats://meshd-0.meshd:4222"),
    ],
)
def test_a_pod_founds_joins_or_goes_on(tmp_path: Path, pod: str, is_member: bool, runs: str) -> None:
    (tmp_path / "meshd").write_text('#!/bin/sh\necho "$* at $MESHD_NATS__URLS"\n')
    (tmp_path / "meshd").chmod(0o755)
    if is_member:
        (tmp_path / "mesh.json").write_text("{}")
    container = _container()
    environ = {"PATH": f"{tmp_path}:/usr/bin:/bin", "POD": pod, "MESHD_DIR": str(tmp_path), "TOKEN": "secret"}
    command = [*container["command"], *container["args"]]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=20, check=True)
    assert done.stdout == f"{runs}\n"
