"""What becomes of the files a program leaves: published whole or not at all, with their properties, while it runs or at its end."""

import json

import pytest

from project import state


def test_every_file_is_an_output_also_after_a_failure(project):
    project.step(
        "cd $VH_OUTPUTS_DIR && mkdir -p a/b empty && echo 1 > a/b/deep.txt && : > zero && head -c 3000000 /dev/zero > big",
        "echo 'ü' > 'name with ü.txt'",
        "exit 3",
    )
    execution = project.execute(code=1)
    assert state(execution) == "error exit_code"
    assert project.outputs(execution) == {"a/b/deep.txt": b"1\n", "zero": b"", "big": bytes(3_000_000), "name with ü.txt": "ü\n".encode()}
    assert {datum["file_name"]: datum["size_bytes"] for datum in execution["outputs"]}["big"] == 3_000_000


@pytest.mark.parametrize(
    "attack, name",
    [
        ("ln -s /etc/passwd link", "link"),
        ("ln -s good link", "link"),
        ("ln -s / directory", "directory"),
        ("ln good hard", "good"),
        ("mkfifo pipe", "pipe"),
        ("python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind(\"sock\")'", "sock"),
        ("mkdir sub && ln -s ../good sub/link", "sub/link"),
        ("touch $'new\\nline'", "new\\nline"),
        ("touch $'\\xff\\xfe'", ""),
        ("d=$(printf 'd%.0s' {1..250}); mkdir -p $d/$d/$d/$d && touch $d/$d/$d/$d/$d", "ddd"),
    ],
)
def test_what_is_no_output_fails_the_step_and_nothing_is_published(project, attack, name):
    project.step("cd $VH_OUTPUTS_DIR && echo kept > good", attack)
    execution = project.execute(code=1)
    assert state(execution) == "error output_invalid", execution["message"]
    assert name in execution["message"] and "output" in execution["message"]
    assert execution["outputs"] == []


def test_a_failure_keeps_its_own_reason_beside_outputs_that_cannot_be(project):
    project.step("ln -s /etc/passwd $VH_OUTPUTS_DIR/link", "exit 4")
    execution = project.execute(code=1)
    assert (state(execution), execution["exit_code"], execution["outputs"]) == ("error exit_code", 4, [])
    assert "link" in execution["message"]


def test_properties_of_outputs(project):
    lines = [
        {"file": "a.txt", "metadata": {"later": 2, "both": "lines"}},
        {"file": "deep/b.txt", "metadata": {"valohai.tags": ["x", "y"], "valohai.alias": "best"}},
        {"file": "missing.txt", "metadata": {"x": 1}},
    ]
    project.write("lines", "".join(json.dumps(line) + "\n" for line in lines) + "not json\n")
    project.step(
        "cd $VH_OUTPUTS_DIR && mkdir deep && touch a.txt deep/b.txt plain.txt alone.metadata.json",
        """echo '{"beside": 1, "both": "beside"}' > a.txt.metadata.json""",
        "cp /valohai/repository/lines valohai.metadata.jsonl",
    )
    execution = project.execute()
    assert {datum["file_name"]: datum["properties"] for datum in execution["outputs"]} == {
        "a.txt": {"beside": 1, "both": "lines", "later": 2},
        "deep/b.txt": {"valohai.tags": ["x", "y"], "valohai.alias": "best"},
        "plain.txt": None,
        "alone.metadata.json": None,
    }


def test_read_only_files_are_published_while_the_program_runs(project):
    project.write(
        "main.py",
        "import os, pathlib, time\n"
        "outputs = pathlib.Path(os.environ['VH_OUTPUTS_DIR'])\n"
        "for number in range(3):\n"
        "    path = outputs / 'deep' / 'checkpoint.txt'\n"
        "    path.parent.mkdir(exist_ok=True)\n"
        "    path.write_text(f'epoch {number}')\n"
        "    path.with_name('checkpoint.txt.metadata.json').write_text(f'{{\"epoch\": {number}}}')\n"
        "    path.chmod(0o444)\n"
        # The only sign is that the file goes away; a run that never gives it ends by the time limit.
        "    while path.exists(): time.sleep(0.01)\n"
        "    print('gone', number)\n"
        "(outputs / 'last.txt').write_text('end')\n",
    )
    project.step("python3 main.py", **{"time-limit": 60})
    execution = project.execute()
    assert project.printed(execution) == "gone 0\ngone 1\ngone 2\n"
    live = [datum for datum in execution["outputs"] if datum["file_name"] == "deep/checkpoint.txt"]
    assert [datum["properties"] for datum in live] == [{"epoch": 0}, {"epoch": 1}, {"epoch": 2}]
    assert len({datum["uri"] for datum in live}) == 3, "the same name again is another datum"
    assert [datum["file_name"] for datum in execution["outputs"]].count("last.txt") == 1

    project.step("cat /valohai/inputs/all/*", inputs=[{"name": "all"}])
    for number, datum in enumerate(live):
        assert project.printed(project.execute(f"--all={datum['uri']}")) == f"epoch {number}"


def test_live_outputs_stay_when_the_step_is_stopped_or_fails(project):
    live = "cd $VH_OUTPUTS_DIR; echo early > early.txt; chmod 0444 early.txt; while [ -e early.txt ]; do read -t 0.01 < <(sleep 1); done"
    project.step(live, "exit 9", **{"time-limit": 60})
    execution = project.execute(code=1)
    assert state(execution) == "error exit_code"
    assert project.outputs(execution) == {"early.txt": b"early\n"}
