"""Where the files of an input come from, what they are called, and what is said when they do not come."""

import base64
import http.server
import json
import threading

import pytest

from project import state


class Server(http.server.BaseHTTPRequestHandler):
    """A small site of files, good and bad."""

    protocol_version = "HTTP/1.1"
    body = b"0123456789" * 1000

    def do_GET(self):
        path = self.path.split("?")[0]
        self.server.asked.append(path)
        if path == "/secret.csv" and self.headers.get("Authorization") != "Basic " + base64.b64encode(b"me:pass word").decode():
            return self.answer(401, b"")
        if path == "/moved.csv":
            return self.answer(302, b"", Location="/data.csv")
        if path.startswith("/cut") and (path == "/cut-always.csv" or self.server.asked.count(path) == 1):
            # All is promised, half is sent.
            self.send_response(200)
            self.send_header("Content-Length", str(len(self.body)))
            self.end_headers()
            self.wfile.write(self.body[: len(self.body) // 2])
            self.close_connection = True
            return None
        return self.answer(200 if path.endswith(".csv") else 404, self.body)

    def answer(self, code, body, **headers):
        self.send_response(code)
        for name, value in {"Content-Length": len(body), **headers}.items():
            self.send_header(name, str(value))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture()
def site():
    """The address of a web server on loopback; `site.asked` are the paths it was asked for."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Server)
    server.asked = []
    server.address = f"127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


LIST = "cd /valohai/inputs && find . -type f | LC_ALL=C sort"


def inputs(*items):
    return {"inputs": [dict(item) for item in items]}


def test_files_from_the_web(project, site):
    base = f"http://{site.address}"
    uris = [f"{base}/data.csv?x=y/z", f"http://me:pass%20word@{site.address}/secret.csv", f"{base}/moved.csv", f"{base}/cut-once.csv"]
    project.step(LIST, "cat /valohai/inputs/rows/* | sha256sum", "cp $VH_CONFIG_DIR/inputs.json $VH_OUTPUTS_DIR", **inputs({"name": "rows", "default": uris}))
    execution = project.execute()
    names = ["cut-once.csv", "data.csv", "moved.csv", "secret.csv"]
    import hashlib

    assert project.printed(execution).split() == [f"./rows/{name}" for name in names] + [hashlib.sha256(Server.body * 4).hexdigest(), "-"]
    told = json.loads(project.outputs(execution)["inputs.json"])["rows"]["files"]
    assert [file["uri"] for file in told] == uris
    assert {file["checksums"]["sha256"] for file in told} == {hashlib.sha256(Server.body).hexdigest()}
    assert {file["checksums"]["md5"] for file in told} == {hashlib.md5(Server.body).hexdigest()}
    (recorded,) = execution["inputs"]
    assert {file["size_bytes"] for file in recorded["files"]} == {len(Server.body)}
    assert all(file["digest"] for file in recorded["files"])


@pytest.mark.parametrize("path, words", [("missing", "404"), ("secret.csv", "401"), ("cut-always.csv", "")])
def test_what_the_web_does_not_give_is_an_error_with_words(project, site, path, words):
    project.step("echo never", **inputs({"name": "rows", "default": f"http://{site.address}/{path}"}))
    execution = project.execute(code=1)
    assert state(execution) == "error input_failed"
    assert "rows" in execution["message"] and path in execution["message"] and words in execution["message"]
    assert project.printed(execution) == ""


def test_files_of_this_machine_and_what_is_kept_of_their_directories(project):
    root = project.path.parent / "data"
    for name in ("a.csv", "b.csv", "b.txt", "x/c.csv", "x/y/d.csv"):
        project.write(f"../data/{name}", name)
    project.step(
        LIST,
        **inputs(
            {"name": "star", "default": f"file://{root}/*.csv"},
            {"name": "deep", "default": f"file://{root}/**.csv"},
            {"name": "suffix", "default": f"file://{root}/**.csv", "keep-directories": "suffix"},
            {"name": "full", "default": f"file://{root}/x/*.csv", "keep-directories": True},
            {"name": "renamed", "default": f"file://{root}/a.csv", "filename": "only.txt"},
            {"name": "not renamed", "default": [f"file://{root}/a.csv", f"file://{root}/b.txt"], "filename": "only.txt"},
            {"name": "none", "optional": True},
            {"name": "later", "default": f"file://{root}/b.txt", "download": "on-demand"},
        ),
    )
    execution = project.execute()
    full = f"./full{root}/x/c.csv"
    expected = ["./deep/a.csv", "./deep/b.csv", "./deep/c.csv", "./deep/d.csv", full, "./not renamed/a.csv", "./not renamed/b.txt"]
    expected += ["./renamed/only.txt", "./star/a.csv", "./star/b.csv"]
    expected += ["./suffix/a.csv", "./suffix/b.csv", "./suffix/x/c.csv", "./suffix/x/y/d.csv"]
    assert project.printed(execution).splitlines() == expected
    assert "none is renamed" in project.printed(execution, "status")


def test_optional_inputs_without_files_leave_no_directory(project):
    project.step("ls -A /valohai/inputs; test -e /valohai/inputs/none || echo absent", **inputs({"name": "none", "optional": True}))
    assert project.printed(project.execute()) == "absent\n"


def test_inputs_are_private_and_writable(project):
    original = project.write("../data/a.txt", "as it was\n")
    project.step(
        "cd /valohai/inputs/rows && echo changed >> a.txt && mv a.txt b.txt && mkdir more && ls",
        **inputs({"name": "rows", "default": f"file://{original.resolve()}"}),
    )
    assert project.printed(project.execute()) == "b.txt\nmore\n"
    assert original.read_text() == "as it was\n"

    project.step("echo stored > $VH_OUTPUTS_DIR/a.txt")
    (stored,) = project.execute()["outputs"]
    for _ in range(2):
        # The second run would see what the first one wrote, were the file shared with the store.
        project.step("cat /valohai/inputs/rows/a.txt; echo spoilt > /valohai/inputs/rows/a.txt", **inputs({"name": "rows"}))
        assert project.printed(project.execute(f"--rows={stored['uri']}")) == "stored\n"


def test_outputs_of_earlier_executions(project):
    project.step(
        "mkdir -p $VH_OUTPUTS_DIR/deep && echo one > $VH_OUTPUTS_DIR/deep/one.txt",
        """echo '{"quality": 1}' > $VH_OUTPUTS_DIR/deep/one.txt.metadata.json""",
        "echo two > $VH_OUTPUTS_DIR/two.txt",
    )
    data = {datum["file_name"]: datum["uri"] for datum in project.execute()["outputs"]}
    project.step(
        LIST,
        "cat */* */*/*",
        "cp $VH_CONFIG_DIR/inputs.json $VH_OUTPUTS_DIR",
        **inputs({"name": "flat"}, {"name": "kept", "keep-directories": "full"}),
    )
    execution = project.execute(f"--flat={data['deep/one.txt']}", "--flat", data["two.txt"], f"--kept={data['deep/one.txt']}")
    assert project.printed(execution).split() == ["./flat/one.txt", "./flat/two.txt", "./kept/deep/one.txt", "one", "two", "one"]
    told = json.loads(project.outputs(execution)["inputs.json"])
    one = told["flat"]["files"][0]
    assert (one["uri"], one["datum_id"]) == (data["deep/one.txt"], data["deep/one.txt"].removeprefix("datum://"))
    assert one["metadata"] == [{"quality": 1}]
    assert told["kept"]["files"][0]["name"] == "deep/one.txt"


def test_of_two_files_with_one_name_the_later_is_kept_and_a_person_told(project):
    first, second = project.write("../a/x.txt", "first"), project.write("../b/x.txt", "second")
    project.step("cat /valohai/inputs/rows/x.txt", **inputs({"name": "rows", "default": [f"file://{path.resolve()}" for path in (first, second)]}))
    execution = project.execute()
    assert project.printed(execution) == "second"
    assert "both named x.txt" in project.printed(execution, "status")


def test_parameters_in_addresses(project):
    project.write("../data/ann/a.csv", "")
    project.step(
        LIST,
        parameters=[{"name": "user-id", "default": "nobody"}, {"name": "kind", "default": "csv"}],
        **inputs({"name": "rows", "default": f"file://{project.path.parent}/data/{{parameter:user-id}}/*.{{parameter-value:kind}}"}),
    )
    execution = project.execute("--user-id=ann")
    assert project.printed(execution) == "./rows/a.csv\n"


@pytest.mark.parametrize(
    "uri, words",
    [
        ("file:///nothing/here.csv", "cannot read /nothing/here.csv"),
        ("file:///nothing/*.csv", "matches no file"),
        ("file:///etc", "not a regular file"),
    ],
)
def test_what_is_not_there_is_an_error_with_words(project, uri, words):
    project.step("echo never", **inputs({"name": "rows", "default": uri}))
    execution = project.execute(code=1)
    assert state(execution) == "error input_failed"
    assert "rows" in execution["message"] and words in execution["message"]
    assert (project.printed(execution), execution["outputs"], len(execution["attempts"])) == ("", [], 1)


@pytest.mark.parametrize(
    "given, words",
    [
        ([], "required"),
        (["--rows=s3://bucket/key"], "s3://"),
        (["--rows=/data/a.csv"], "not a URI"),
        (["--rows=datum://01234567-89ab-8def-8123-456789abcdef"], "does not exist"),
        (["--rows=datum://"], "no file"),
    ],
)
def test_inputs_that_cannot_be_are_refused_before_anything_runs(project, given, words):
    project.step("echo never", **inputs({"name": "rows"}))
    error = project.refused("execution", "run", "step", *given)
    assert words in error["message"] and "rows" in error["message"]
    assert project.ask("execution", "list") == []
