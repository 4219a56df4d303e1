"""An unmodified program that uses the public `valohai-utils`."""

import json

import pytest

from project import state

PROGRAM = """
import os
import pathlib

import valohai
from valohai.config import is_running_in_valohai

valohai.prepare(
    step="train",
    image="none",
    default_parameters={"epochs": 1, "rate": 0.5, "name": "default", "fast": False, "sizes": [1]},
    default_inputs={"rows": "file:///not/used.csv", "several": [], "archive": "", "extra": ""},
)
seen = {
    "running": is_running_in_valohai(),
    "epochs": valohai.parameters("epochs").value,
    "rate": valohai.parameters("rate").value,
    "name": valohai.parameters("name").value,
    "fast": valohai.parameters("fast").value,
    "sizes": valohai.parameters("sizes").value,
    "rows": pathlib.Path(valohai.inputs("rows").path()).read_text(),
    "several": sorted(os.path.basename(path) for path in valohai.inputs("several").paths()),
    "archive": sorted(os.path.basename(path) for path in valohai.inputs("archive").paths()),
    "extra": list(valohai.inputs("extra").paths()),
}
with valohai.logger() as logger:
    logger.log("accuracy", 0.75)
    logger.log("seen", seen)

for number in range(2):
    path = valohai.outputs("deep").path(f"live-{number}.txt")
    pathlib.Path(path).write_text(f"live {number}")
    valohai.outputs("deep").live_upload(f"live-{number}.txt")

pathlib.Path(valohai.outputs().path("model.bin")).write_bytes(b"weights")
with valohai.output_properties() as properties:
    properties.add(file="model.bin", properties={"accuracy": 0.75, "valohai.tags": ["good"]})
valohai.set_status_detail("almost done")
print("the end")
"""


@pytest.fixture()
def files(project):
    """The addresses of what the inputs are given."""
    import io
    import zipfile

    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as packed:
        packed.writestr("one.txt", "1")
        packed.writestr("two.txt", "2")
    named = {"rows.csv": "a,b\n1,2\n", "x.txt": "x", "y.txt": "y", "pair.zip": archive.getvalue()}
    return {name: f"file://{project.write(f'../files/{name}', data).resolve()}" for name, data in named.items()}


def configure(project, command, files):
    project.write("train.py", PROGRAM)
    parameters = [
        {"name": "epochs", "type": "integer", "default": 3},
        {"name": "rate", "type": "float", "default": 0.125},
        {"name": "name", "type": "string", "default": "from the file"},
        {"name": "fast", "type": "flag", "default": True, "pass-true-as": "--fast=true", "pass-false-as": "--fast=false"},
        {"name": "sizes", "type": "integer", "multiple": "repeat", "default": [4, 5]},
    ]
    inputs = [
        {"name": "rows", "default": files["rows.csv"]},
        {"name": "several", "default": [files["x.txt"], files["y.txt"]]},
        {"name": "archive", "default": files["pair.zip"]},
        {"name": "extra", "optional": True},
    ]
    project.step(command, name="train", parameters=parameters, inputs=inputs)


# Of an argument that is repeated, the library takes the last.
@pytest.mark.parametrize("command, sizes", [("python3 train.py", [4, 5]), ("python3 train.py {parameters}", ["5"])])
def test_a_program_of_valohai_utils(project, files, command, sizes):
    configure(project, command, files)
    execution = project.execute("--epochs=7", "--name=given at launch", step="train")
    printed = project.printed(execution), project.printed(execution, "stderr")
    assert state(execution) == "complete", printed
    assert execution["metadata"]["accuracy"] == 0.75
    assert execution["metadata"]["seen"] == {
        "running": True,
        "epochs": 7,
        "rate": 0.125,
        "name": "given at launch",
        "fast": True,
        "sizes": sizes,
        "rows": "a,b\n1,2\n",
        "several": ["x.txt", "y.txt"],
        "archive": ["one.txt", "two.txt"],
        "extra": [],
    }
    assert project.outputs(execution) == {"deep/live-0.txt": b"live 0", "deep/live-1.txt": b"live 1", "model.bin": b"weights"}
    properties = {datum["file_name"]: datum["properties"] for datum in execution["outputs"]}
    assert properties["model.bin"] == {"accuracy": 0.75, "valohai.tags": ["good"]}
    assert printed[0].endswith("the end\n") and json.dumps({"accuracy": 0.75})[1:-1] in printed[0]
