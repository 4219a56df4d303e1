"""A stranger's program: only the `.proto` files and `grpcio-tools`.

It submits a pipeline, watches it, follows its log and downloads an output, as somebody would who has read nothing but the
contract. Run by `tests/run`; by hand: `SHOAL=target/release/shoal pytest tests/python/test_stranger.py`.
"""

import importlib
import os
import pathlib
import subprocess
import sys
import time
import uuid

import grpc
import pytest
from grpc_tools import protoc

ROOT = pathlib.Path(__file__).resolve().parents[2]
DEADLINE_SECONDS = 60

CONFIG = b"""
- step:
    name: produce
    image: busybox
    command:
      - |
        echo '{"answer": 42}'
      - printf 'made by %s' {parameter-value:who} > "$VH_OUTPUTS_DIR/note.txt"
    parameters:
      - name: who
        type: string
        default: nobody
- step:
    name: consume
    image: busybox
    command:
      - cat "$VH_INPUTS_DIR/note/note.txt"
      - tr a-z A-Z < "$VH_INPUTS_DIR/note/note.txt" > "$VH_OUTPUTS_DIR/loud.txt"
    inputs:
      - name: note
- pipeline:
    name: strangers
    nodes:
      - name: first
        type: execution
        step: produce
      - name: second
        type: execution
        step: consume
    edges:
      - [first.output.*.txt, second.input.note]
"""


@pytest.fixture(scope="session")
def api(tmp_path_factory):
    """The modules that protoc makes of the public packages."""
    out = tmp_path_factory.mktemp("stubs")
    files = [str(path) for path in sorted((ROOT / "proto").rglob("*.proto")) if path.parent.name in ("v1", "api")]
    assert protoc.main(["protoc", f"-I{ROOT / 'proto'}", f"-I{protoc_include()}", f"--python_out={out}", f"--grpc_python_out={out}", *files]) == 0
    sys.path.insert(0, str(out))

    class Api:
        """Every message and stub of shoal.v1 in one place."""

    for name in ("value", "execution", "pipeline", "log", "data", "worker", "cluster", "error_reason"):
        for suffix in ("_pb2", "_pb2_grpc"):
            module = importlib.import_module(f"shoal.v1.{name}{suffix}")
            for attribute in dir(module):
                if not attribute.startswith("_"):
                    setattr(Api, attribute, getattr(module, attribute))
    return Api


def protoc_include():
    """Where grpcio-tools keeps Google's own `.proto` files."""
    import grpc_tools

    return pathlib.Path(grpc_tools.__file__).parent / "_proto"


def wait_for_file(path, process):
    """The text of a file that a process writes once it is ready."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not (path.exists() and path.read_text().strip()):
        assert process.poll() is None, f"ended with {process.returncode} before it was ready"
        assert time.monotonic() < deadline, f"{path} was not written"
        os.sched_yield()
    return path.read_text().strip()


@pytest.fixture()
def cluster(tmp_path):
    """A coordinator and a worker as processes of their own; the address of the coordinator."""
    shoal = os.environ["SHOAL"]
    processes = []
    logs = open(tmp_path / "daemons.log", "w+b")
    try:
        address_file = tmp_path / "coordinator.address"
        processes.append(
            subprocess.Popen(
                [shoal, "coordinator", "--bootstrap", "--data-dir", tmp_path / "c1", "--listen", "127.0.0.1:0", "--address-file", address_file],
                stdout=logs,
                stderr=logs,
            )
        )
        address = wait_for_file(address_file, processes[0])
        processes.append(
            subprocess.Popen(
                [shoal, "worker", "--coordinator", address, "--data-dir", tmp_path / "w1", "--name", "w1", "--listen", "127.0.0.1:0"],
                stdout=logs,
                stderr=logs,
            )
        )
        yield address
    finally:
        for process in reversed(processes):
            process.terminate()
        for process in processes:
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
        logs.seek(0)
        print(logs.read().decode(errors="replace"))


def test_a_pipeline_is_submitted_followed_and_its_output_downloaded(api, cluster):
    channel = grpc.insecure_channel(cluster)
    pipelines = api.PipelineServiceStub(channel)
    request = api.CreatePipelineRequest(
        parent="projects/strangers",
        request_id=str(uuid.uuid4()),
        config=CONFIG,
        blueprint="strangers",
        parameters=[api.ParameterAssignment(name="first.who", value=api.Value(text="a stranger"))],
    )
    created = pipelines.CreatePipeline(request, timeout=DEADLINE_SECONDS)
    again = pipelines.CreatePipeline(request, timeout=DEADLINE_SECONDS)
    assert created.pipeline.name == again.pipeline.name == "projects/strangers/pipelines/1"

    final = None
    for message in pipelines.WatchPipelines(api.WatchPipelinesRequest(name=created.pipeline.name), timeout=DEADLINE_SECONDS):
        if message.WhichOneof("event") == "pipeline":
            final = message.pipeline
        if message.WhichOneof("event") == "end":
            assert message.end.reason == api.WATCH_END_REASON_FINAL
            break
    assert final.state == api.STATE_COMPLETE, final

    executions = api.ExecutionServiceStub(channel)
    by_node = {
        execution.node: execution
        for execution in executions.ListExecutions(api.ListExecutionsRequest(parent="projects/strangers")).executions
    }
    assert '"answer":42' in by_node["first"].metadata_json.replace(" ", "")

    log = api.LogServiceStub(channel)
    printed = b""
    numbers = []
    for message in log.ReadLog(api.ReadLogRequest(name=by_node["second"].name, follow=True), timeout=DEADLINE_SECONDS):
        for record in message.batch.records:
            numbers.append(record.number)
            if record.stream == api.LOG_STREAM_STDOUT:
                printed += record.data
        if message.WhichOneof("event") == "sealed":
            assert message.sealed.record_count == len(numbers)
            break
    assert numbers == list(range(len(numbers)))
    assert printed == b"made by a stranger"

    (datum,) = by_node["second"].outputs
    assert datum.file_name == "loud.txt"
    blobs = api.BlobServiceStub(grpc.insecure_channel(datum.locations[0]))
    data = b"".join(part.data for part in blobs.ReadBlob(api.ReadBlobRequest(digest=datum.digest), timeout=DEADLINE_SECONDS))
    assert data == b"MADE BY A STRANGER"


def test_errors_name_their_reason(api, cluster):
    pipelines = api.PipelineServiceStub(grpc.insecure_channel(cluster))
    with pytest.raises(grpc.RpcError) as refused:
        pipelines.CreatePipeline(
            api.CreatePipelineRequest(parent="projects/strangers", request_id=str(uuid.uuid4()), config=b"- step: {name: a}", blueprint="x"),
            timeout=DEADLINE_SECONDS,
        )
    assert refused.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    details = dict(refused.value.trailing_metadata())["grpc-status-details-bin"]
    assert b"INVALID_CONFIG" in details and b"shoal.run" in details


def test_a_request_id_means_one_request(api, cluster):
    pipelines = api.PipelineServiceStub(grpc.insecure_channel(cluster))
    request = api.CreatePipelineRequest(parent="projects/strangers", request_id=str(uuid.uuid4()), config=CONFIG, blueprint="strangers")
    names = {pipelines.CreatePipeline(request, timeout=DEADLINE_SECONDS).pipeline.name for _ in range(3)}
    assert names == {"projects/strangers/pipelines/1"}
    request.title = "another"
    with pytest.raises(grpc.RpcError) as refused:
        pipelines.CreatePipeline(request, timeout=DEADLINE_SECONDS)
    assert refused.value.code() == grpc.StatusCode.ALREADY_EXISTS
    assert b"REQUEST_ID_REUSED" in dict(refused.value.trailing_metadata())["grpc-status-details-bin"]
    listed = pipelines.ListPipelines(api.ListPipelinesRequest(parent="projects/strangers"), timeout=DEADLINE_SECONDS)
    assert [pipeline.name for pipeline in listed.pipelines] == list(names)
