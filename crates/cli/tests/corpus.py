#!/usr/bin/env python3
"""Compares the binary with the reference parser's answers over a folder of real files. Opt-in: the files are not part of the project.

    crates/cli/tests/corpus.py FOLDER [--shoal PATH] [-v]

FOLDER holds one folder a repository; beside each `FILE.yaml` in it lies `FILE.yaml.verdict.json` with the reference's
`errors`, `warnings`, `commands` (shell lines by step) and `pipelines` (edges and nodes by name). What must agree:

- valid or not, and an invalid file has at least as many errors; plural edge types alone are ours to take;
- `execution command STEP` for every step that the reference has an answer for;
- `pipeline plan NAME`: the edges, and of every node its name, type and template.

Ends with 1 when anything differs.
"""

import argparse
import json
import pathlib
import re
import subprocess
import sys

# An error of the reference that is a warning of ours: files in the wild use these spellings.
PLURAL_EDGE = re.compile(r"(source|target) type (outputs|inputs|parameters) ")


class Shoal:
    """The binary under test."""

    def __init__(self, path):
        self.path = path

    def ask(self, *arguments):
        """Runs one command; answers with its exit code, its JSON (None without) and its standard error."""
        done = subprocess.run([self.path, *arguments, "--output", "json"], capture_output=True, text=True, timeout=60)
        return done.returncode, json.loads(done.stdout) if done.stdout.strip() else None, done.stderr


def compare(shoal, file, verdict):
    """Yields a line for every disagreement about one file."""
    code, lint, stderr = shoal.ask("lint", str(file))
    if lint is None:
        yield f"lint prints nothing: {stderr.strip()}"
        return
    if set(lint) < {"valid", "errors", "warnings"} or lint["valid"] != (code == 0) or lint["valid"] == bool(lint["errors"]):
        yield f"lint contradicts itself: exit {code}, {lint}"
    for found in lint["errors"] + lint["warnings"]:
        if not found["message"] or found["line"] < 1 or found["column"] < 1:
            yield f"lint without a place: {found}"
    expected = [error for error in verdict["errors"] if not PLURAL_EDGE.search(error)]
    if lint["valid"] != (not expected):
        yield f"valid: {lint['valid']}, the reference says {expected}, we say {[error['message'] for error in lint['errors']]}"
    if len(lint["errors"]) < len(expected):
        yield f"errors: {len(lint['errors'])}, the reference has {len(expected)}: {expected}"
    if not lint["valid"]:
        return
    for step, lines in (verdict.get("commands") or {}).items():
        _, ours, stderr = shoal.ask("execution", "command", step, "--file", str(file))
        if ours != lines:
            yield f"commands of {step}: {ours} {stderr.strip()}, the reference says {lines}"
    for name, plan in (verdict.get("pipelines") or {}).items():
        _, ours, stderr = shoal.ask("pipeline", "plan", name, "--file", str(file))
        if ours is None:
            yield f"plan of {name}: {stderr.strip()}, the reference says {json.dumps(plan)[:200]}"
            continue
        yield from compare_plan(name, ours, plan)


def compare_plan(name, ours, plan):
    """Yields a line for every disagreement about one pipeline."""

    def edges(of):
        return sorted(json.dumps(edge, sort_keys=True) for edge in of.get("edges", []))

    if edges(ours) != edges(plan):
        yield f"edges of {name}: {edges(ours)}, the reference says {edges(plan)}"
    theirs = {node["name"]: node for node in plan.get("nodes", [])}
    mine = {node["name"]: node for node in ours.get("nodes", [])}
    if list(theirs) != list(mine):
        yield f"nodes of {name}: {list(mine)}, the reference has {list(theirs)}"
    for node in theirs.keys() & mine.keys():
        if mine[node] != theirs[node]:
            yield f"node {node} of {name}: {json.dumps(mine[node])}, the reference says {json.dumps(theirs[node])}"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--shoal", default="shoal", help="the binary; by default the one on the path")
    parser.add_argument("-v", "--verbose", action="store_true", help="name every file")
    options = parser.parse_args()
    shoal = Shoal(options.shoal)
    verdicts = sorted(options.folder.rglob("*.verdict.json"))
    if not verdicts:
        sys.exit(f"no verdicts under {options.folder}")
    files = commands = pipelines = bad = 0
    for path in verdicts:
        verdict = json.loads(path.read_text())
        file = path.with_name(path.name.removesuffix(".verdict.json"))
        found = list(compare(shoal, file, verdict))
        files, bad = files + 1, bad + len(found)
        commands += len(verdict.get("commands") or {})
        pipelines += len(verdict.get("pipelines") or {})
        if options.verbose or found:
            print(f"{file}: {'agrees' if not found else ''}")
        for line in found:
            print(f"  {line}")
    print(f"{files} files, {commands} steps, {pipelines} pipelines: {bad} disagreements")
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
