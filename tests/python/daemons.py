"""Daemons of a cluster on loopback, as an operator starts them: each with a directory, metrics, and lines on standard error."""

import os
import pathlib
import re
import subprocess
import urllib.error
import urllib.request

SHOAL = os.path.abspath(os.environ.get("SHOAL", "target/debug/shoal"))
SECONDS = 60


class Daemon:
    """A coordinator or a worker. Ended with the `with` block."""

    def __init__(self, directory, role, *arguments):
        self.data = pathlib.Path(directory)
        listen = [] if any(word.startswith("--listen") for word in arguments) else ["--listen=127.0.0.1:0"]
        self.process = subprocess.Popen(
            [SHOAL, role, f"--data-dir={self.data}", "--metrics=127.0.0.1:0", *listen, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.metrics = self.said(r"metrics on http://(\S+)/metrics")
        self.address = self.said(r"serves(?: blobs)? on (\S+)")

    def said(self, pattern):
        """Waits for a line, and gives what the pattern's group found."""
        before = []
        for line in self.process.stderr:
            before.append(line)
            if found := re.search(pattern, line):
                return found[1]
        raise AssertionError(f"it ended without saying {pattern}:\n{''.join(before)}")

    def get(self, path):
        """Asks by HTTP: the status and the text."""
        try:
            with urllib.request.urlopen(f"http://{self.metrics}{path}", timeout=SECONDS) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def kill(self):
        """As a crash would."""
        self.process.kill()
        self.process.wait(SECONDS)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.kill()
        self.process.stderr.close()
