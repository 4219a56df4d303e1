"""Pipelines through the command line: what edges carry, what failures mean, and what is refused with its place."""

import json
import os
import time

import pytest

from project import DEADLINE_SECONDS, state


def step(name, *commands, **fields):
    return {"step": {"name": name, "image": "none", "command": list(commands), **fields}}


def node(name, step=None, **fields):
    return {"name": name, "type": "execution", "step": step or name, **fields}


def pipeline(nodes, edges, **fields):
    return {"pipeline": {"name": "all", "nodes": nodes, "edges": edges, **fields}}


def configure(project, *items):
    project.config(json.dumps(items))


def test_edges_of_every_kind(project):
    data = project.write("../data/base.csv", "base\n").resolve()
    configure(
        project,
        step(
            "make",
            "cd $VH_OUTPUTS_DIR && mkdir -p results && touch model-1.bin model-2.bin other.txt results/a.pkl results/b.json",
            """echo '{"classes": 3, "rates": [0.5, 0.25], "name": "old"}'; echo '{"name": "new one"}'""",
            parameters=[{"name": "seed", "type": "integer", "default": 7}],
            inputs=[{"name": "rows", "default": f"file://{data}"}],
            **{"environment-variables": [{"name": "MODE", "default": "quick run"}]},
        ),
        step(
            "use",
            "cd /valohai/inputs && find . -type f | LC_ALL=C sort",
            'echo {parameters} "$MODE_TOO" "$VH_PIPELINE_NODE_ID"',
            parameters=[
                {"name": "copied", "type": "integer", "default": 0},
                {"name": "classes", "type": "integer"},
                {"name": "rates", "type": "float", "multiple": "separate"},
                {"name": "name"},
                {"name": "kept", "default": "own"},
            ],
            inputs=[
                {"name": "models"},
                {"name": "all", "keep-directories": "full"},
                {"name": "pickles"},
                {"name": "rows", "default": "file:///replaced/by/the/edge"},
                {"name": "nothing", "optional": True},
                {"name": "appended", "default": f"file://{data}"},
            ],
        ),
        pipeline(
            [node("first", "make"), node("second", "use"), node("third", "use", **{"edge-merge-mode": "append"})],
            [
                [f"first.{source}", f"{target}.{key}"]
                for target in ("second", "third")
                for source, key in (
                    ("output.model*", "input.models"),
                    ("output.*", "input.all"),
                    ("output.results/*.pkl", "input.pickles"),
                    ("input.row*", "input.rows"),
                    ("output.*.nothing", "input.nothing"),
                    ("output.other.txt", "input.appended"),
                    ("parameter.seed", "parameter.copied"),
                    ("metadata.classes", "parameter.classes"),
                    ("metadata.rates", "parameter.rates"),
                    ("metadata.name", "parameter.name"),
                    ("metadata.never-printed", "parameter.kept"),
                    ("environment-variable.MODE", "environment-variable.MODE_TOO"),
                )
                if (target, key) != ("third", "input.rows")
            ],
        ),
    )
    # The third node keeps its own files, and one of them does not exist.
    ended, executions = project.pipeline("all", "--first.seed=8", f"--third.rows=file://{data}")
    assert ended["state"] == "complete", [execution["message"] for execution in executions.values()]
    common = ["./all/model-1.bin", "./all/model-2.bin", "./all/other.txt", "./all/results/a.pkl", "./all/results/b.json"]
    rest = ["./models/model-1.bin", "./models/model-2.bin", "./pickles/a.pkl", "./rows/base.csv"]
    values = "--copied=8 --classes=3 --rates=0.5,0.25 --name=new one --kept=own quick run"
    assert project.printed(executions["second"]).splitlines() == [*common, "./appended/other.txt", *rest, f"{values} second"]
    appended = ["./appended/base.csv", "./appended/other.txt"]
    assert project.printed(executions["third"]).splitlines() == [*common, *appended, *rest, f"{values} third"]
    origins = {parameter["name"]: parameter["origin"] for parameter in executions["second"]["parameters"]}
    assert origins == {"copied": "edge", "classes": "edge", "rates": "edge", "name": "edge", "kept": "default"}


def test_pipeline_parameters_and_overrides(project):
    configure(
        project,
        step("show", "echo {parameters} $WORD", parameters=[{"name": "a", "default": "1"}, {"name": "b", "default": "2"}]),
        pipeline(
            [
                node("plain", "show"),
                node(
                    "other",
                    "show",
                    override={
                        "command": "echo overridden {parameters} $WORD",
                        "parameters": [{"name": "b", "default": "over"}],
                        "environment-variables": [{"name": "WORD", "default": "w"}],
                    },
                ),
            ],
            [["plain.dependency.x", "other.dependency.x"]],
            parameters=[{"name": "shared", "default": "d", "targets": ["plain.parameter.a", "other.parameters.a"]}],
        ),
    )
    _, executions = project.pipeline("all", "--shared=s", "--plain.b=given")
    assert project.printed(executions["plain"]) == "--a=s --b=given\n"
    assert project.printed(executions["other"]) == "overridden --a=s --b=over w\n"
    assert executions["plain"]["end_time"] <= executions["other"]["start_time"], "a dependency is an order"


def test_a_metadata_edge_without_a_value_for_a_required_parameter(project):
    configure(
        project,
        step("silent", "echo nothing"),
        step("needy", "echo never", parameters=[{"name": "key"}]),
        pipeline([node("silent"), node("needy")], [["silent.metadata.key", "needy.parameter.key"]]),
    )
    ended, _ = project.pipeline("all", code=1)
    nodes = {found["name"]: found for found in ended["nodes"]}
    assert ended["state"] == nodes["needy"]["state"] == "error"
    assert "key" in nodes["needy"]["message"] and "silent" in nodes["needy"]["message"]


def test_an_output_edge_without_a_file_for_a_required_input(project):
    configure(
        project,
        step("silent", "echo nothing"),
        step("needy", "echo never", inputs=[{"name": "rows"}]),
        pipeline([node("silent"), node("needy")], [["silent.output.*.csv", "needy.input.rows"]]),
    )
    ended, _ = project.pipeline("all", code=1)
    nodes = {found["name"]: found for found in ended["nodes"]}
    assert nodes["needy"]["state"] == "error" and "rows" in nodes["needy"]["message"]


def failing(project, on_error, beside):
    """A node that fails, one after it, one beside it, and one after that."""
    configure(
        project,
        step("fails", "echo partial > $VH_OUTPUTS_DIR/partial.txt", "exit 1"),
        step("next", "ls /valohai/inputs/files", inputs=[{"name": "files", "optional": True}]),
        step("beside", "trap 'exit 0' TERM", beside),
        step("last", "true"),
        pipeline(
            [node("fails", **{"on-error": on_error}), node("next"), node("beside"), node("last")],
            [["fails.output.*", "next.input.files"], ["beside.dependency.x", "last.dependency.x"]],
        ),
    )


@pytest.mark.parametrize("on_error, tries", [("stop-all", 1), ("retry", 3)])
def test_a_failure_ends_the_pipeline(project, on_error, tries):
    # What runs beside it would go on for an hour.
    failing(project, on_error, "sleep 3600 & wait")
    ended, executions = project.pipeline("all", code=1)
    nodes = {found["name"]: found["state"] for found in ended["nodes"]}
    assert (ended["state"], ended["end_reason"]) == ("error", "node_failed") and "fails" in ended["message"]
    assert nodes == {"fails": "error", "next": "stopped", "beside": "stopped", "last": "stopped"}
    assert executions["beside"]["state"] == "stopped"
    assert [state(execution) for execution in project.executions("fails")] == ["error exit_code"] * tries


@pytest.mark.parametrize("on_error", ["stop-next", "continue"])
def test_a_failure_ends_only_what_comes_after_it_or_nothing(project, on_error):
    gate = project.path.parent / "gate"
    os.mkfifo(gate)
    failing(project, on_error, f"read line < {gate}")
    number = project.ask("pipeline", "run", "all", "--detach")["number"]
    deadline = time.monotonic() + DEADLINE_SECONDS
    while {found["name"]: found["state"] for found in project.ask("pipeline", "show", number)["nodes"]}["fails"] != "error":
        assert time.monotonic() < deadline
    # It has failed, and the one beside it still waits to be let go.
    gate.write_text("go\n")
    project.shoal("pipeline", "watch", number, code=0 if on_error == "continue" else 1)
    ended = project.ask("pipeline", "show", number)
    nodes = {found["name"]: found["state"] for found in ended["nodes"]}
    next_state = "complete" if on_error == "continue" else "stopped"
    assert nodes == {"fails": "error", "next": next_state, "beside": "complete", "last": "complete"}
    assert ended["state"] == ("complete" if on_error == "continue" else "error")
    if on_error == "continue":
        (execution,) = project.executions("next")
        assert project.printed(execution) == "partial.txt\n"


def test_a_retry_that_succeeds(project):
    mark = project.path.parent / "mark"
    configure(
        project,
        step("flaky", f"if [ ! -e {mark} ]; then touch {mark}; echo bad > $VH_OUTPUTS_DIR/f; exit 1; fi", "echo good > $VH_OUTPUTS_DIR/f"),
        step("next", "cat /valohai/inputs/f/f", inputs=[{"name": "f"}]),
        pipeline([node("flaky", **{"on-error": "retry"}), node("next")], [["flaky.output.f", "next.input.f"]]),
    )
    ended, executions = project.pipeline("all")
    assert ended["state"] == "complete"
    assert [execution["state"] for execution in project.executions("flaky")] == ["error", "complete"]
    assert project.printed(executions["next"]) == "good\n"


@pytest.mark.parametrize(
    "actions, state_of_pipeline, reason, ran",
    [
        ([{"when": "node-complete", "if": "metadata.score < 0.5", "then": "stop-pipeline"}], "stopped", 3, ["judge"]),
        ([{"when": "node-complete", "if": "metadata.score < 0.5", "then": "error-pipeline"}], "error", 1, ["judge"]),
        ([{"when": "node-complete", "if": "metadata.score > 0.5", "then": "stop-pipeline"}], "complete", 0, ["judge", "next"]),
        ([{"when": "node-complete", "if": "metadata.unknown > 0", "then": "stop-pipeline"}], "complete", 0, ["judge", "next"]),
    ],
)
def test_actions(project, actions, state_of_pipeline, reason, ran):
    configure(
        project,
        step("judge", """echo '{"score": 0.25}'"""),
        step("next", "true"),
        pipeline([node("judge", actions=actions), node("next")], [["judge.dependency.x", "next.dependency.x"]]),
    )
    ended, executions = project.pipeline("all", code=reason)
    assert ended["state"] == state_of_pipeline
    assert sorted(name for name, execution in executions.items() if execution["attempts"]) == ran


REFUSED = {
    "a task node": ("- step: {name: a, image: i, command: c}\n- pipeline:\n    name: all\n    edges: []\n    nodes:\n      - {name: t, type: task, step: a}\n", 6, "task node `t`"),
    "a deployment node": ("- pipeline:\n    name: all\n    edges: []\n    nodes:\n      - {name: d, type: deployment, deployment: x}\n", 5, "deployment node `d`"),
    "an address that cannot be fetched": ("- step:\n    name: a\n    image: i\n    command: c\n    inputs:\n      - name: rows\n        default: s3://bucket/key\n- pipeline: {name: all, edges: [], nodes: [{name: n, type: execution, step: a}]}\n", 7, "s3://"),
    "a step of another commit": ("- pipeline:\n    name: all\n    edges: []\n    nodes:\n      - {name: n, type: execution, step: a, commit: abc}\n", 5, "another commit"),
    "an approval": ("- step: {name: a, image: i, command: c}\n- pipeline:\n    name: all\n    edges: []\n    nodes:\n      - name: n\n        type: execution\n        step: a\n        actions:\n          - {when: node-starting, then: require-approval}\n", 10, "require-approval"),
}


@pytest.mark.parametrize("config, line, words", REFUSED.values(), ids=REFUSED)
def test_what_is_read_but_not_run_is_refused_with_its_place(project, config, line, words):
    project.config(config)
    error = project.refused("pipeline", "run", "all")
    assert error["reason"] == "NOT_EXECUTABLE"
    assert words in error["message"] and f"valohai.yaml:{line}:" in error["message"]
    assert project.ask("pipeline", "list") == []


def test_a_mount_that_no_worker_grants_is_refused_with_who_says_so(project):
    project.config("- step: {name: a, image: i, command: c, mounts: [/a:/b]}\n- pipeline: {name: all, edges: [], nodes: [{name: n, type: execution, step: a}]}\n")
    error = project.refused("pipeline", "run", "all")
    assert error["reason"] == "NOT_EXECUTABLE"
    assert "mounts: /a" in error["message"] and "plain processes" in error["message"]
    assert project.ask("pipeline", "list") == []


def test_every_mistake_of_a_file_is_told_at_once(project):
    project.config("- step:\n    name: a\n    image: yes\n    commands: [x]\n- pipeline: {name: p, nodes: [], edges: [[a.b]]}\n")
    errors = json.loads(project.shoal("-o", "json", "lint", code=1))["errors"]
    assert [error["line"] for error in errors] == [2, 3, 4, 5]
    refused = project.refused("pipeline", "run", "p", code=1)
    assert [detail["message"] for detail in refused["details"]] == [error["message"] for error in errors]
    assert project.ask("pipeline", "list") == []
