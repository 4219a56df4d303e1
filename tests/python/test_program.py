"""What the program of a step finds: its directories, its environment, its configuration, its source tree, its arguments."""

import json
import re

import pytest
import yaml

from project import state

UUID = r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"


def test_the_ten_configuration_files_say_the_same_twice(project):
    data = project.write("data.csv", "a,b\n")
    project.step(
        "cp /valohai/config/* /valohai/outputs/",
        parameters=[
            {"name": "rate", "type": "float", "default": 0.00001},
            {"name": "epochs", "type": "integer", "default": 5},
            {"name": "word", "type": "string", "default": "no"},
            {"name": "text", "type": "string", "default": "a: 'b' \"c\"\n# ü €"},
            {"name": "fast", "type": "flag", "default": True},
            {"name": "sizes", "type": "integer", "default": [1, 2], "multiple": "repeat"},
            {"name": "unset", "type": "string", "optional": True},
        ],
        inputs=[{"name": "rows", "default": f"file://{data}"}, {"name": "extra", "optional": True}],
    )
    execution = project.execute()
    files = project.outputs(execution)
    names = ["api", "execution", "inputs", "parameters", "runtime"]
    assert sorted(files) == [f"{name}.{kind}" for name in names for kind in ("json", "yaml")]
    documents = {name: json.loads(files[f"{name}.json"]) for name in names}
    for name in names:
        assert yaml.safe_load(files[f"{name}.yaml"]) == documents[name], name

    assert documents["parameters"] == {
        "rate": 0.00001,
        "epochs": 5,
        "word": "no",
        "text": "a: 'b' \"c\"\n# ü €",
        "fast": True,
        "sizes": [1, 2],
    }
    found = documents["execution"]
    assert found["valohai.execution-id"] == execution["execution_id"]
    assert found["valohai.execution-counter"] == execution["number"] == 1
    assert (found["valohai.execution-step"], found["valohai.execution-image"]) == ("step", "none")
    assert found["valohai.project-name"] == "project"
    assert found["valohai.commit-identifier"] == "~" + execution["source"]["digest"]
    (file,) = documents["inputs"]["rows"]["files"]
    assert (file["name"], file["path"], file["size"]) == ("data.csv", "/valohai/inputs/rows/data.csv", 4)
    assert file["uri"] == f"file://{data}"
    assert re.fullmatch(UUID, documents["inputs"]["rows"]["input_id"])
    assert documents["inputs"]["extra"] == {"files": []}


def test_directories_variables_and_working_directory(project):
    project.step(
        "env -0 > $VH_OUTPUTS_DIR/env",
        "pwd; ls -A /valohai/outputs /valohai/inputs; touch here /valohai/config/../repository/there; ls /valohai/repository",
        **{"environment-variables": [{"name": "MINE", "default": "a b\n$c"}, {"name": "UNSET"}, {"name": "VH_JOB_ID", "default": "forged"}]},
    )
    execution = project.execute("--env", "GIVEN=1=2")
    environment = dict(entry.split("=", 1) for entry in project.outputs(execution)["env"].decode().split("\0") if entry)
    assert environment["VH_JOB_ID"] == "exec-" + execution["execution_id"] == "exec-" + environment["VH_EXECUTION_ID"]
    assert re.fullmatch(UUID, environment["VH_PROJECT_ID"])
    for name in ("config", "inputs", "outputs", "repository"):
        assert environment[f"VH_{name.upper()}_DIR"] == f"/valohai/{name}"
    assert (environment["MINE"], environment["GIVEN"], environment["PYTHONUNBUFFERED"]) == ("a b\n$c", "1=2", "1")
    assert not {"UNSET", "VH_PIPELINE_ID", "VH_PIPELINE_NODE_ID", "VH_TASK_ID", "SHOAL"} & set(environment)
    assert project.printed(execution) == (
        "/valohai/repository\n/valohai/inputs:\n\n/valohai/outputs:\nenv\nhere\nthere\nvalohai.yaml\n"
    )
    assert not (project.path / "here").exists(), "a step works on a copy of the tree"


def test_commands_are_lines_of_one_bash_script(project):
    project.step(
        'if [ -d "/valohai/inputs/none" ]; then',
        "echo yes",
        "else",
        "echo no",
        "fi",
        "for x in a b; do",
        'echo "$x"',
        "done",
        "cd /tmp; export X=kept; values=(1 2 3)",
        '[[ ${values[2]} == 3 ]] && echo "$PWD $X ${#values[@]}"',
        "source /dev/stdin <<< 'echo sourced'",
        "(sleep 1000; echo never) &",
        "false",
        "echo to-stderr >&2",
        "echo ${VH_CONFIG_DIR} {parameter:unknown} {print $1} {{parameters}}",
    )
    execution = project.execute()
    assert project.printed(execution) == (
        "no\na\nb\n/tmp kept 3\nsourced\n/valohai/config {parameter:unknown} {print } {{parameters}}\n"
    )
    assert project.printed(execution, "stderr") == "to-stderr\n"
    assert state(execution) == "complete"


def test_the_last_command_decides_and_a_shebang_names_the_interpreter(project):
    project.step("true", "exit 7", "echo never")
    execution = project.execute(code=1)
    assert (state(execution), execution["exit_code"]) == ("error exit_code", 7)
    assert "7" in execution["message"]
    assert project.printed(execution) == ""

    project.step("#!/usr/bin/env python3", "import sys", "print(sys.argv[0] != '', 6 * 7)")
    assert project.printed(project.execute()) == "True 42\n"

    project.step("kill -9 $$")
    execution = project.execute(code=1)
    assert state(execution) == "error signal" and execution["attempts"][0]["signal"] == 9


def test_the_source_tree(project):
    project.write(".gitignore", "ignored/\n*.tmp\n")
    project.write(".vhignore", "notes.md\n")
    for name in ("ignored/a", "x.tmp", "notes.md", ".env", "package/deep/module.py", "with space ü.txt"):
        project.write(name, f"this is {name}")
    project.write("tool.sh", "#!/bin/sh\necho the tool runs", 0o755)
    (project.path / "link").symlink_to("package/deep/module.py")
    project.write("big.bin", bytes(range(256)) * 5000)
    project.step(
        "find . -mindepth 1 | LC_ALL=C sort",
        "./tool.sh; test -x package/deep/module.py || echo not executable; readlink link; cat link",
        "sha256sum big.bin > $VH_OUTPUTS_DIR/sum",
    )
    execution = project.execute()
    assert project.printed(execution) == "\n".join(
        ["./.env", "./.gitignore", "./.vhignore", "./big.bin", "./link", "./package", "./package/deep", "./package/deep/module.py"]
        + ["./tool.sh", "./valohai.yaml", "./with space ü.txt", "the tool runs", "not executable", "package/deep/module.py"]
        + ["this is package/deep/module.py"]
    )
    import hashlib

    assert project.outputs(execution)["sum"].decode().split()[0] == hashlib.sha256(bytes(range(256)) * 5000).hexdigest()


PARAMETERS = [
    {"name": "lr", "type": "float", "default": 0.00001},
    {"name": "text", "default": "a b'c"},
    {"name": "count", "type": "integer", "default": 3, "pass-as": "-n {v}"},
    {"name": "fast", "type": "flag"},
    {"name": "slow", "type": "flag", "default": True, "pass-true-as": "--slow=yes", "pass-false-as": "--slow=no"},
    {"name": "layer", "type": "integer", "multiple": "repeat", "default": [10, 20], "pass-as": "--layer {v}"},
    {"name": "tags", "multiple": "separate", "default": ["x", "y z"]},
    {"name": "none", "optional": True},
]


@pytest.mark.parametrize(
    "given, expected",
    [
        ([], ["--lr=1e-05", "--text=a b'c", "-n", "3", "--slow=yes", "--layer", "10", "--layer", "20", "--tags=x,y z"]),
        (
            ["--lr=0.5", "--text=", "--count", "-4", "--fast", "--slow=false", "--layer=7", "--tags+=w", "--none=$HOME *"],
            ["--lr=0.5", "--text=", "-n", "-4", "--fast", "--slow=no", "--layer", "7", "--tags=x,y z,w", "--none=$HOME *"],
        ),
        (
            ["-p", "layer=1", "--layer=2", "--lr=1e16", "--fast=false", "--param", "tags=q"],
            ["--lr=1e+16", "--text=a b'c", "-n", "3", "--slow=yes", "--layer", "1", "--layer", "2", "--tags=q"],
        ),
    ],
)
def test_parameters_reach_the_command_line(project, given, expected):
    project.step("python3 -c 'import json, sys; print(json.dumps(sys.argv[1:]))' {parameters}", parameters=PARAMETERS)
    execution = project.execute(*given)
    assert execution["metadata"] is None, "an array is no metadata"
    assert json.loads(project.printed(execution)) == expected


def test_single_parameters_their_values_and_a_file_of_them(project):
    project.write("values.yaml", "lr: 1.0e-3\ntags: [a, 'b']\nfast: yes\n")
    project.step(
        "printf '%s|' {parameter:lr} {parameter-value:text} {parameter:fast} {parameter:none} {parameter-value:none}",
        "cp $VH_CONFIG_DIR/parameters.json $VH_OUTPUTS_DIR/",
        parameters=PARAMETERS,
    )
    execution = project.execute("--parameter-file", "values.yaml", "--text=$(id)")
    assert project.printed(execution) == "--lr=0.001|$(id)|--fast|{parameter-value:none}|"
    told = json.loads(project.outputs(execution)["parameters.json"])
    assert told == {"lr": 0.001, "text": "$(id)", "count": 3, "fast": True, "slow": True, "layer": [10, 20], "tags": ["a", "b"]}
    origins = {parameter["name"]: parameter["origin"] for parameter in execution["parameters"]}
    assert (origins["lr"], origins["count"]) == ("launch", "default")


@pytest.mark.parametrize(
    "given, words",
    [
        (["--lr=fast"], "`fast` is not a number"),
        (["--count=1.5"], "not an integer"),
        (["--lrr=1"], "lr"),
        (["--text=a", "--text=b"], "only one value"),
        (["--slow=maybe"], "slow"),
    ],
)
def test_values_that_do_not_fit_are_refused_before_anything_runs(project, given, words):
    project.step("echo {parameters}", parameters=PARAMETERS)
    error = project.refused("execution", "run", "step", *given)
    assert words in json.dumps(error)
    assert project.ask("execution", "list") == []


def test_metadata_is_what_stands_alone_on_a_line_of_standard_output(project):
    project.write(
        "main.py",
        "import sys\n"
        'print(\'{"epoch": 1, "loss": 0.5}\')\n'
        'print(\'  {"epoch": 2, "nested": {"a": [[1, 2]]}, "none": null}  \')\n'
        'print(\'[1, 2]\'); print(\'"text"\'); print(\'loss {"loss": 9}\'); print(\'{"broken": \')\n'
        'print(\'{"loss": 8}\', file=sys.stderr)\n'
        'print(\'50%\\r100%\\r{"loss": 7}\')\n'
        'sys.stdout.buffer.write(b"\\xff\\xfe raw\\n"); print("x" * 70000)\n'
        'print(\'{"last": NaN}\', end="")\n',
    )
    project.step("python3 main.py")
    execution = project.execute()
    assert execution["metadata"] == {"epoch": 2, "loss": 0.5, "nested": {"a": [[1, 2]]}, "none": None, "last": "NaN"}
    series = [record["metadata"] for record in project.ask("execution", "metadata", execution["number"])]
    assert [list(record) for record in series] == [["epoch", "loss"], ["epoch", "nested", "none"], ["last"]]
    printed = project.shoal("execution", "logs", execution["number"], "--stream", "stdout", binary=True)
    assert b'50%\r100%\r{"loss": 7}\n\xff\xfe raw\n' + b"x" * 70000 + b'\n{"last": NaN}' in printed


def test_equal_runs_have_one_identity_and_each_difference_another(project):
    data = project.write("../data.csv", "1")
    line = "cat /valohai/inputs/rows/* > $VH_OUTPUTS_DIR/out; echo {parameters}"
    fields = {"parameters": [{"name": "a", "default": "1"}], "inputs": [{"name": "rows", "default": f"file://{data.resolve()}"}]}
    project.step(line, **fields)
    first = project.execute()
    assert project.execute("--title", "again")["identity"] == first["identity"]
    assert re.fullmatch("[0-9a-f]{64}", first["identity"])

    others = [project.execute("--a=2"), project.execute("--env", "X=1")]
    project.write("../data.csv", "2")
    others.append(project.execute())
    project.write("../data.csv", "1")
    assert project.execute()["identity"] == first["identity"]
    file = project.write("more.py", "")
    others.append(project.execute())
    file.unlink()
    project.config(json.dumps([{"step": {"name": "step", "image": "other", "command": [line], **fields}}]))
    others.append(project.execute())
    identities = [first["identity"], *(other["identity"] for other in others)]
    assert len(set(identities)) == len(identities)


@pytest.mark.parametrize("condition", ["metadata.loss < 0.2", "loss < 0.2"])
def test_a_stop_condition_stops_when_it_holds(project, condition):
    project.step(
        "trap 'echo asked; exit 0' TERM INT",
        "echo saved > $VH_OUTPUTS_DIR/model",
        """echo '{"loss": 0.5}'; echo '{"loss": 0.1}'""",
        "while true; do read -t 60 < <(sleep 60); done",
        **{"stop-condition": condition},
    )
    execution = project.execute(code=3)
    assert state(execution) == "stopped stop_condition"
    assert condition in execution["message"]
    assert project.outputs(execution) == {"model": b"saved\n"}


def test_limits_of_time_and_of_silence(project):
    project.step("echo begun > $VH_OUTPUTS_DIR/file", "sleep 1000", **{"time-limit": 3})
    execution = project.execute(code=3)
    assert state(execution) == "stopped time_limit" and execution["time_limit_seconds"] == 3
    assert project.outputs(execution) == {"file": b"begun\n"}

    project.step("while echo; do sleep 0.1; done & sleep 2; kill %1; sleep 1000", **{"no-output-timeout": "1s"})
    assert state(project.execute(code=3)) == "stopped no_output"
