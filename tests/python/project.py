"""A user's directory with a `valohai.yaml`, and the commands that a user gives in it.

Everything goes through the `shoal` binary with `-o json`, as a script of a user would.
"""

import json
import os
import pathlib
import subprocess
import sys

DEADLINE_SECONDS = 120


class Project:
    """One directory. What its steps run as `python3` is the interpreter of these tests, with the packages of these tests."""

    def __init__(self, path):
        self.path = pathlib.Path(path)
        self.path.mkdir(parents=True, exist_ok=True)

    def write(self, name, text, mode=None):
        """Writes a file of the directory; text or bytes."""
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        if mode is not None:
            path.chmod(mode)
        return path

    def config(self, text):
        """Writes the `valohai.yaml`."""
        self.write("valohai.yaml", text)

    def step(self, *lines, name="step", **fields):
        """Writes a `valohai.yaml` of one step with these commands; `fields` are its other fields, as data."""
        self.config(json.dumps([{"step": {"name": name, "image": "none", "command": list(lines), **fields}}]))

    def shoal(self, *arguments, code=0, binary=False):
        """Runs `shoal` and gives its standard output. `code` is the exit code that it must end with."""
        environment = {**os.environ, "PATH": f"{pathlib.Path(sys.executable).parent}:{os.environ['PATH']}"}
        ended = subprocess.run(
            [os.path.abspath(os.environ["SHOAL"]), *map(str, arguments)],
            cwd=self.path,
            env=environment,
            capture_output=True,
            timeout=DEADLINE_SECONDS,
        )
        out, err = ended.stdout, ended.stderr.decode(errors="replace")
        assert ended.returncode == code, f"{arguments} ended with {ended.returncode}\n{out.decode(errors='replace')}\n{err}"
        self.said = err
        return out if binary else out.decode()

    def ask(self, *arguments, code=0):
        """Runs `shoal -o json` and gives what it printed, as data."""
        return json.loads(self.shoal("-o", "json", *arguments, code=code))

    def execute(self, *arguments, step="step", code=0):
        """Runs a step to its end and gives the execution."""
        return self.ask("execution", "run", step, *arguments, code=code)

    def pipeline(self, name, *arguments, code=0):
        """Runs a pipeline to its end and gives it, with the newest execution of each node."""
        ended = self.ask("pipeline", "run", name, *arguments, code=code)
        return ended["pipeline"], {execution["node"]: execution for execution in ended["executions"]}

    def executions(self, node):
        """All executions of a node, oldest first."""
        return [execution for execution in reversed(self.ask("execution", "list")) if execution["node"] == node]

    def refused(self, *arguments, code=2):
        """Runs what must be refused and gives the error."""
        self.shoal("-o", "json", *arguments, code=code)
        return json.loads(self.said)["error"]

    def printed(self, execution, stream="stdout"):
        """What a program printed, as text."""
        return self.shoal("execution", "logs", execution["number"], "--stream", stream)

    def outputs(self, execution):
        """The bytes of all outputs, downloaded and verified, by name."""
        directory = self.path / ".shoal" / f"downloaded-{execution['number']}"
        self.ask("execution", "outputs", execution["number"], "--download", directory)
        return {str(path.relative_to(directory)): path.read_bytes() for path in directory.rglob("*") if path.is_file()}


def state(execution):
    """How something ended: `complete`, `error exit_code`."""
    return " ".join(filter(None, [execution["state"], execution["end_reason"]]))
