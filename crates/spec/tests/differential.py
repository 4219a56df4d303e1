#!/usr/bin/env python3
"""Compares the linter with the format's reference, on files and on mutations of them.

    python3 -m venv reference && reference/bin/pip install valohai-yaml==0.61.0
    cargo build -p spec --example lint_json
    reference/bin/python crates/spec/tests/differential.py --mutations 2000 FOLDER...

Every `*.yaml` below the folders is linted by both, and so are so many mutations of them, made from a seed. They agree
about a file when both take it, or both refuse it and

- a syntax error is at the same line and column;
- for each schema error of the reference, one of ours has the same path or one below it and stands within its lines;
  and where the place is beyond doubt (not of `anyOf` and `oneOf`), one of ours is exactly there;
- for errors beyond the schema, which have no place there, we have at least as many.

A program error of the reference counts as a refusal. Plural edge types, `connections`, numbers beyond 128 bits and what
exceeds our limits differ on purpose. Exits with 1 when they disagree about anything else.
"""

import argparse
import collections
import copy
import datetime
import json
import pathlib
import random
import re
import subprocess
import sys
import tempfile

import yaml
from valohai_yaml.lint import lint
from valohai_yaml.validation import get_validator

PLURAL = re.compile(r"(source|target) type (outputs|inputs|parameters) \(")

SCALARS = [
    None, True, False, 0, 1, -1, 5, 1.5, 3.0, float("nan"), float("inf"), "", " ", "x", "a.b", "a.b.c", "yes", "1e-3",
    "1h 30m", "10S", "5 q", "500ms", "train", "none", "None", "continue", "retry", "flag", "integer", "string",
    "separate", "repeat", "a > ", "a > 1", "a.b-c < 0.5", "(", "stop-all", "RANDOM-SEARCH", "bayesian_tpe", "linear",
    "stop_all_and_error", "/a:/b", "/a", "a=b", "x" * 65, "A", "execution", "task", "deployment", "Exists", "Equal",
    datetime.date(2020, 9, 2), [], {}, [1], ["x"], ["a.output.b", "c.input.d"], {"name": "x"}, [{"name": "x"}], [[]],
    {"min": 1}, {"a": 1}, 3600, 99999999999999999, 70000, 2000, "train.parameter.lr", "train.input.x", "t.parameters.p",
]  # fmt: skip


def walk(data, path=()):
    """All places of a document, from the outside in."""
    yield path
    if isinstance(data, dict):
        for key in data:
            yield from walk(data[key], (*path, key))
    elif isinstance(data, list):
        for index, item in enumerate(data):
            yield from walk(item, (*path, index))


def get(data, path):
    for part in path:
        data = data[part]
    return data


def mutate_data(data, pool, rng):
    """Changes one place of a document."""
    data = copy.deepcopy(data)
    places = [path for path in walk(data) if path]
    if not places:
        return [rng.choice(SCALARS)]
    path = rng.choice(places)
    parent, last = get(data, path[:-1]), path[-1]
    kind = rng.randrange(9)
    if kind == 0:
        del parent[last]
    elif kind == 1 and isinstance(parent, dict) and isinstance(last, str):
        renamed = rng.choice([last + "s", last[:-1], last.replace("-", "_"), last.upper(), "_" + last, 5, rng.choice(pool)])
        items = [(renamed if key == last else key, value) for key, value in parent.items()]
        parent.clear()
        parent.update(items)
    elif kind in (2, 3, 4):
        parent[last] = copy.deepcopy(rng.choice(SCALARS))
    elif kind == 5 and isinstance(parent, dict):
        parent[rng.choice(pool)] = copy.deepcopy(rng.choice(SCALARS))
    elif kind == 6:
        other = rng.choice(places)
        parent[last] = copy.deepcopy(get(data, other))
    elif kind == 7 and isinstance(parent, list):
        parent.append(copy.deepcopy(parent[last]))
    elif isinstance(parent[last], str) and "." in parent[last]:
        text = parent[last]
        parent[last] = rng.choice(
            [text.replace(".", "", 1), text.replace("output", "input"), text.replace("output", "outputs"), "x" + text,
             text.rsplit(".", 1)[0], text.replace("input", "metadata"), text.replace(".", ".x", 1)]
        )  # fmt: skip
    else:
        parent[last] = [parent[last]]
    return data


INSERTIONS = list(":-[]{}#&*!|>'\"%@`,? \t\n=~") + [
    "  ", "---", "...", ": ", "- ", "\r\n", "\u00a0", "\u2028", "\x07", "é", "<<", "&a ", "*a", "!!str ", "!x ", "|-\n", "0x",
]  # fmt: skip
VALUES = [
    ":", ": @", ": `", ": %", ': "', ": '", ": [", ": {", ": *a", ": &a ", ": |x", ": >-", ": !!str ", ": !!int ", "\t: ",
    " :  ", ": 010 #", ": 1:30 #", ": yes #", ": 1e-3 #", ": 1.0e-3 #", ": ~ #", ": 2020-13-01 #", ": 0x_ #", ": = #",
    ": << #", ": 0o7 #", ": 1_000 #", ": .5 #", ": +.inf #", ": 12e03 #", ": 2020-01-01 #", ": null #", ": ? ", ": 5 #",
]  # fmt: skip


def mutate_text(text, rng):
    """Changes one place of a text."""
    lines = text.split("\n")
    line = rng.randrange(len(lines))
    place = rng.randrange(len(text)) if text else 0
    kind = rng.randrange(7)
    if kind == 0:
        return text[:place] + text[place + 1 :]
    if kind == 1:
        return text[:place] + rng.choice(INSERTIONS) + text[place:]
    if kind == 2:
        lines[line] = " " * rng.choice([1, 2, 4]) + lines[line]
    elif kind == 3:
        lines[line] = lines[line][1:]
    elif kind in (4, 5):
        lines[line] = lines[line].replace(": ", rng.choice(VALUES), 1)
    else:
        del lines[line]
    return "\n".join(lines)


def mutations(files, count, rng):
    """Texts made from the files."""
    texts = [text for text in files if len(text) < 20_000]
    documents = []
    for text in texts:
        try:
            documents.append(yaml.safe_load(text))
        except Exception:
            continue
    pool = sorted({part for document in documents for path in walk(document) for part in path if isinstance(part, str)})
    while count > 0:
        rounds = rng.choice([1, 1, 1, 2, 3])
        try:
            if rng.random() < 0.6:
                data = rng.choice(documents)
                for _ in range(rounds):
                    data = mutate_data(data, pool, rng)
                yield yaml.safe_dump(data, sort_keys=False, default_flow_style=rng.choice([False, False, None]))
            else:
                text = rng.choice(texts)
                for _ in range(rounds):
                    text = mutate_text(text, rng)
                yield text
        except (KeyError, IndexError, TypeError, RecursionError):
            continue  # A mutation that no longer applies.
        count -= 1


def reference_answer(path):
    """What the reference says: a list of errors, each a dictionary with what is known of its place."""
    try:
        text = path.read_text(encoding="utf-8")
        data = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = (mark.line + 1, mark.column + 1) if mark else None
        return [{"kind": "syntax", "place": place, "message": str(getattr(error, "problem", error))}]
    except Exception as error:
        return [{"kind": "program", "message": repr(error)}]
    try:
        errors = list(get_validator().iter_errors(data))
        if errors:
            root = yaml.compose(text, Loader=yaml.SafeLoader)
            return [schema_error(error, root) for error in errors]
        messages = [message["message"] for message in lint(data).errors] if data is not None else []
        return [{"kind": "lint", "message": message} for message in messages if not PLURAL.search(message)]
    except Exception as error:
        return [{"kind": "program", "message": repr(error)}]


def schema_error(error, root):
    """One error of the schema: the path and the lines of the value, and the exact places, where there is no doubt."""
    node = root
    for part in error.absolute_path:
        if isinstance(node, yaml.MappingNode):
            node = next((value for key, value in reversed(node.value) if key.value == str(part)), None)
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int):
            node = node.value[part]
        else:
            node = None
        if node is None:
            break
    path = ".".join(str(part) for part in error.absolute_path)
    described = {"kind": "schema", "path": path, "message": error.message[:200], "rule": error.validator}
    if node is None:
        return described
    described["lines"] = (node.start_mark.line + 1, node.end_mark.line + 1)
    if error.validator == "additionalProperties":
        known = error.schema.get("properties", {})
        described["places"] = [place(key) for key, _ in node.value if key.value not in known]
    elif error.validator in ("type", "enum", "const", "pattern", "maxLength", "minimum", "maximum", "required"):
        described["places"] = [place(node)]
    return described


def place(node):
    return node.start_mark.line + 1, node.start_mark.column + 1


def older_spelling(reference, ours):
    """The reference's errors without those about a pipeline in the older spelling, which we take."""
    pipelines = [w["path"] for w in ours["warnings"] if "`connections` is the older" in w["message"]]
    about = ("'connections'", "'edges' is a required", "'nodes' is a required")
    kept = []
    for error in reference:
        places = error.get("places", [])
        if error.get("path") in pipelines and any(words in error["message"] for words in about):
            keys = [(w["line"], w["column"]) for w in ours["warnings"]]
            places = [place for place in places if error["rule"] != "required" and place not in keys]
        if places or error.get("path") not in pipelines or not error.get("places"):
            kept.append({**error, "places": places} if "places" in error else error)
    return kept


def disagreement(reference, ours):
    """Why they disagree, or None."""
    on_purpose = any("is the limit" in error["message"] for error in ours["errors"])
    if on_purpose or (not reference and any("connections" in w["message"] for w in ours["warnings"])):
        return None
    if bool(reference) != (not ours["valid"]):
        return "only the reference refuses" if reference else "only we refuse"
    unnamed = sum(error["kind"] == "lint" for error in reference)
    if unnamed > len({(e["line"], e["column"], e["message"]) for e in ours["errors"]}):
        return "fewer errors than the reference"
    places = {(error["line"], error["column"]) for error in ours["errors"]}
    for error in reference:
        if error["kind"] == "syntax" and error["place"] and error["place"] not in places:
            return "a syntax error elsewhere"
        if error["kind"] == "schema":
            if not any(covers(error, e) for e in ours["errors"]):
                return "a schema error without ours"
            if not set(error.get("places", [])) <= places:
                return "a schema error elsewhere"
    return None


def covers(error, ours):
    """Whether one of our errors is about a schema error of the reference."""
    below = not error["path"] or ours["path"] == error["path"] or ours["path"].startswith(error["path"] + ".")
    within = "lines" not in error or error["lines"][0] <= ours["line"] <= error["lines"][1]
    return below and within


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=pathlib.Path)
    parser.add_argument("--lint-json", default="target/debug/examples/lint_json", help="the example's program")
    parser.add_argument("--mutations", type=int, default=0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--show", type=int, default=5, help="how many of each disagreement to print")
    options = parser.parse_args()

    rng = random.Random(options.seed)
    files = sorted(file for folder in options.folders for file in folder.rglob("*.yaml"))
    texts = [file.read_text(encoding="utf-8") for file in files]
    with tempfile.TemporaryDirectory() as folder:
        for number, text in enumerate(mutations(texts, options.mutations, rng)):
            mutation = pathlib.Path(folder) / f"{number:06}.yaml"
            mutation.write_text(text, encoding="utf-8", newline="")
            files.append(mutation)
        listing = "".join(f"{file}\n" for file in files)
        answers = subprocess.run([options.lint_json], input=listing, capture_output=True, text=True, check=True).stdout
        ours = {line["file"]: line["answer"] for line in map(json.loads, answers.splitlines())}

        counts, shown = collections.Counter(), collections.Counter()
        for file in files:
            reference, answer = reference_answer(file), ours[str(file)]
            reference = older_spelling(reference, answer)
            reason = disagreement(reference, answer)
            counts[reason or ("both refuse" if reference else "both take")] += 1
            if reason:
                shown[reason] += 1
                if shown[reason] <= options.show:
                    print(f"--- {reason}: {file}")
                    for error in reference:
                        print("  reference:", {key: value for key, value in error.items() if value is not None})
                    for error in answer["errors"]:
                        print("  ours:     ", error["line"], error["column"], error["path"], "|", error["message"])
    print(dict(counts))
    sys.exit(1 if shown else 0)


if __name__ == "__main__":
    main()
