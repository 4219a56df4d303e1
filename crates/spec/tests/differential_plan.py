#!/usr/bin/env python3
"""Asks the reference and `spec` for the commands and the expanded pipelines of the same files, and prints where they
differ. The files are those given, with mutations of them, and generated ones.

Not part of `cargo test`: it needs the reference from PyPI.

    python3 -m venv venv && venv/bin/pip install valohai-yaml==0.61.0
    cargo build -p spec --example answer
    venv/bin/python crates/spec/tests/differential_plan.py target/debug/examples/answer ROUNDS SEED [FILE...]

A file that the reference refuses is not asked about.
"""

import copy
import datetime
import json
import random
import subprocess
import sys
import warnings

import yaml
from valohai_yaml import parse
from valohai_yaml.lint import lint
from valohai_yaml.pipelines.conversion import PipelineConverter

warnings.simplefilter("ignore")
binary, rounds, seed = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
rng = random.Random(seed)


def encode(value):
    """A value for `answer`, see there."""
    if isinstance(value, bool) or value is None or isinstance(value, str):
        return value
    if isinstance(value, int):
        return {"int": str(value)}
    if isinstance(value, float):
        return {"float": repr(value)}
    if isinstance(value, (datetime.date, datetime.datetime)):
        return {"date": str(value)}
    return [encode(item) for item in value]


def maybe(chance, make):
    return make() if rng.random() < chance else None


def fields(**given):
    return {key.rstrip("_").replace("_", "-"): value for key, value in given.items() if value is not None}


NAMES = ["lr", "epochs", "a b", "é", "layers", "x.y", "user-id", "name"]
ATOMS = [1, 0, -5, 1.0, 0.001, 1e-5, 1e16, 123456.789, "", "a b", "it's", "$HOME", "{v}", "1e-3", True, False, "x",
         datetime.date(2020, 9, 2), datetime.datetime(2020, 9, 2, 10, 0, 1), 10**20, float("inf"), "ü", "line\nline"]  # fmt: skip
TEMPLATES = ["{v}", "--{name} {value}", "-x{v}", "--{name}={v!r}", "{{v}}", "--on", " ", "", "{0}", "{v:.3f}", "{v:>6}", "}", "{",
             "{v:,}", "--decoder-spec {v}", "--a={v} --b={value}", "{name!s:_^9}"]  # fmt: skip
PIECES = ["{parameters}", "{params}", "{parameter:%s}", "{parameter-value:%s}", "${HOME}", "{print $1}", "{{parameters}}", "{}",
          "{source-path}", "echo", " ", "\n", "'", "{parameter: x}", "{unknown}", "{", "}", "a{b"]  # fmt: skip


def parameter():
    kind = rng.choice(["string", "integer", "float", "flag", None])
    multiple = None if kind == "flag" else maybe(0.3, lambda: rng.choice(["repeat", "separate", "none"]))
    default = rng.choice(ATOMS + [None])
    if rng.random() < (0.6 if multiple else 0.04):
        default = [rng.choice(ATOMS) for _ in range(rng.randrange(4))]
    return fields(
        name=rng.choice(NAMES),
        type=kind,
        default=default,
        multiple=multiple,
        multiple_separator=maybe(0.2, lambda: rng.choice(["", ";", ", "])),
        optional=maybe(0.3, lambda: rng.random() < 0.5),
        pass_as=maybe(0.4, lambda: rng.choice(TEMPLATES)),
        pass_true_as=maybe(0.2, lambda: rng.choice(TEMPLATES)),
        pass_false_as=maybe(0.2, lambda: rng.choice(TEMPLATES)),
        choices=maybe(0.1, lambda: rng.sample(["x", 1, 2.5], 2)),
        min=maybe(0.1, lambda: rng.choice([0, 0.5])),
        widget=maybe(0.1, lambda: rng.choice(["SQL", {"type": "Slider", "settings": {"a": 1}}, {"type": "x"}])),
        description=maybe(0.1, lambda: rng.choice(["", "text"])),
        category=maybe(0.1, lambda: rng.choice(["", "text"])),
    )


def input_():
    return fields(
        name=rng.choice(["images", "labels.csv", "in put"]),
        default=maybe(0.6, lambda: rng.choice(["s3://b/*", "", [], ["a", "b"], ["datum://x"]])),
        optional=maybe(0.3, lambda: rng.random() < 0.5),
        filename=maybe(0.2, lambda: "f.csv"),
        keep_directories=maybe(0.3, lambda: rng.choice([True, False, "none", "full", "suffix"])),
        download=maybe(0.2, lambda: rng.choice(["always", "on-demand"])),
        description=maybe(0.1, lambda: "text"),
    )


def variable():
    return fields(
        name=rng.choice(["A", "B_C"]),
        default=maybe(0.6, lambda: rng.choice(["", "1", "text"])),
        optional=maybe(0.3, lambda: rng.random() < 0.5),
    )


def mount():
    if rng.random() < 0.5:
        return rng.choice(["/a:/b", "/a:/b:ro"])
    return fields(
        source="host:/x",
        destination="/y",
        readonly=maybe(0.5, lambda: rng.random() < 0.5),
        type=maybe(0.5, lambda: "NFS"),
        options=maybe(0.5, lambda: {"nfsvers": 4, "x": "y"}),
    )


def several(make, longest=3):
    return [make() for _ in range(rng.randrange(longest + 1))]


def line():
    pieces = [rng.choice(PIECES) for _ in range(rng.randrange(1, 6))]
    return "".join(piece % rng.choice(NAMES) if "%s" in piece else piece for piece in pieces)


def command():
    return line() if rng.random() < 0.4 else several(line)


def resources():
    bounds = lambda: rng.choice([{}, {"min": 0.1}, {"min": 1, "max": 2}])  # noqa: E731
    return fields(
        cpu=maybe(0.5, bounds),
        memory=maybe(0.5, bounds),
        devices=maybe(0.5, lambda: rng.choice([{}, {"nvidia.com/gpu": 1}])),
    )


def step(name):
    environment = maybe(0.3, lambda: rng.choice(["gpu", ""]))
    return fields(
        name=name,
        image="python:3",
        command=command(),
        parameters=maybe(0.8, lambda: several(parameter, 4)),
        inputs=maybe(0.6, lambda: several(input_)),
        outputs=maybe(0.2, lambda: several(lambda: fields(name="o", description=maybe(0.5, lambda: "d")))),
        mounts=maybe(0.2, lambda: several(mount)),
        cache_volumes=maybe(0.1, lambda: ["v", ""]),
        environment_variables=maybe(0.3, lambda: several(variable)),
        environment_variable_groups=maybe(0.1, lambda: ["g", ""]),
        environment=environment,
        runtime_config_preset=maybe(0.3, lambda: "preset") if environment else None,
        resources=maybe(0.2, resources),
        time_limit=maybe(0.2, lambda: rng.choice([0, 60, "1h 30m", "0.5s", " "])),
        no_output_timeout=maybe(0.2, lambda: rng.choice([0, 60, "1.5d"])),
        stop_condition=maybe(0.1, lambda: "metadata.x > 1"),
        upload_store=maybe(0.1, lambda: rng.choice(["store", ""])),
        source_path=maybe(0.3, lambda: rng.choice(["train.py", "a b.py", ""])),
        autorestart=maybe(0.2, lambda: rng.random() < 0.5),
        description=maybe(0.1, lambda: rng.choice(["", "text"])),
        category=maybe(0.1, lambda: rng.choice(["", "text"])),
        icon=maybe(0.1, lambda: rng.choice(["", "http://x"])),
    )


def override(of_step):
    named = lambda make, items: [dict(make(), name=item["name"]) for item in items if rng.random() < 0.5]  # noqa: E731
    environment = maybe(0.2, lambda: "cpu")
    return fields(
        image=maybe(0.2, lambda: rng.choice(["other", ""])),
        command=maybe(0.2, command),
        parameters=maybe(0.6, lambda: named(parameter, of_step.get("parameters", []))),
        inputs=maybe(0.6, lambda: named(input_, of_step.get("inputs", []))),
        mounts=maybe(0.1, lambda: several(mount)),
        environment_variables=maybe(0.3, lambda: several(variable)),
        environment=environment,
        runtime_config_preset=maybe(0.3, lambda: "preset2") if environment else None,
        autorestart=maybe(0.2, lambda: rng.random() < 0.5),
    )


def action():
    return fields(
        when=rng.choice(["node-complete", ["Node-Starting", "node-error", "node-error"]]),
        if_=maybe(0.6, lambda: rng.choice(["metadata.x > 1", ["a", "b"], []])),
        then=rng.choice(["stop-pipeline", ["noop", "require-approval"]]),
    )


def node(name, steps, tasks):
    kind = rng.choice(["execution", "execution", "task", "deployment"])
    common = fields(
        name=name,
        type=kind,
        actions=maybe(0.3, lambda: several(action)),
        on_error=maybe(0.3, lambda: rng.choice(["stop-all", "stop-next", "continue"])),
    )
    if kind == "deployment":
        own = fields(
            deployment="d",
            endpoints=maybe(0.7, lambda: several(lambda: rng.choice(["serve", "other"]))),
            aliases=maybe(0.5, lambda: ["a"]),
        )
        return {**common, **own}
    of_step = rng.choice(steps)
    own = {"step": of_step["name"]}
    if kind == "task" and tasks and rng.random() < 0.7:
        own = {"task": rng.choice(tasks)["name"]}
        of_step = next((s for s in steps if s["name"] == next(t for t in tasks if t["name"] == own["task"])["step"]))
    rest = fields(
        override=maybe(0.6, lambda: override(of_step)),
        edge_merge_mode=maybe(0.3, lambda: rng.choice(["replace", "append"])),
        commit=maybe(0.2, lambda: rng.choice(["abc", "HEAD"])),
    )
    return {**common, **own, **rest}


def task(name, steps):
    rules = lambda: fields(  # noqa: E731
        start=maybe(0.3, lambda: 1), end=maybe(0.3, lambda: 2.5), step=maybe(0.3, lambda: 0.5), items=maybe(0.4, lambda: [1, "a", True, 0.5]),
        integerify=maybe(0.2, lambda: True), distribution=maybe(0.2, lambda: "uniform"), value=maybe(0.2, lambda: 3), base=maybe(0.1, lambda: 2),
    )  # fmt: skip
    variant = lambda: {  # noqa: E731
        "name": rng.choice(NAMES), "style": rng.choice(["linear", "logspace", "multiple", "random", "single"]), "rules": rules(),
    }  # fmt: skip
    return fields(
        name=name,
        step=rng.choice(steps)["name"],
        type=maybe(0.8, lambda: rng.choice(["grid_search", "RANDOM-SEARCH", "bayesian_tpe", "manual_search", "distributed"])),
        parameters=several(variant),
        parameter_sets=maybe(0.3, lambda: [{"lr": 1, "epochs": "x"}, {}, {"lr": 2.5}]),
        execution_count=maybe(0.2, lambda: 5),
        execution_batch_size=maybe(0.2, lambda: 5),
        maximum_queued_executions=maybe(0.2, lambda: 5),
        on_child_error=maybe(0.3, lambda: rng.choice(["stop-all-and-error", "CONTINUE_AND_COMPLETE"])),
        optimization_target_metric=maybe(0.2, lambda: "acc"),
        optimization_target_value=maybe(0.2, lambda: rng.choice([1, 0.5])),
        engine=maybe(0.2, lambda: "optuna"),
        stop_condition=maybe(0.2, lambda: "a > 1"),
        reuse_children=maybe(0.2, lambda: rng.random() < 0.5),
    )


def pipeline(name, steps, tasks):
    nodes = [node(f"n{index}", steps, tasks) for index in range(rng.randrange(1, 5))]
    kinds = ["input", "output", "parameter", "metadata", "file", "dependency", "deployment", "environment-variable"]

    def edge():
        source, target = (f"n{rng.randrange(len(nodes))}.{rng.choice(kinds)}.{rng.choice(['*', 'a.b', 'x'])}" for _ in range(2))
        if rng.random() < 0.5:
            return [source, target]
        return fields(source=source, target=target, configuration=maybe(0.3, lambda: rng.choice([{}, {"a": 1}])))

    def pipeline_parameter():
        executions = [n for n in nodes if n["type"] == "execution"]
        target = lambda: "n0.parameter.lr"  # noqa: E731
        if executions:
            chosen = rng.choice(executions)
            names = [p["name"] for s in steps if s["name"] == chosen["step"] for p in s.get("parameters", [])] or ["lr"]
            target = lambda: f"{chosen['name']}.{rng.choice(['parameter', 'parameters'])}.{rng.choice(names)}"  # noqa: E731
        targets = rng.choice([{"target": target()}, {"targets": target()}, {"targets": [target(), target()]}, {"targets": []}])
        value = rng.choice(ATOMS + [None, ["a", 1], []])
        return {**fields(name=rng.choice(NAMES), default=value, category=maybe(0.2, lambda: ""), description=maybe(0.2, lambda: "d")), **targets}

    return fields(
        name=name,
        nodes=nodes,
        edges=several(edge, 4),
        parameters=maybe(0.5, lambda: several(pipeline_parameter)),
        reuse_executions=maybe(0.2, lambda: True),
    )


def generated():
    steps = [step(name) for name in rng.sample(["train", "pre process", "eval"], rng.randrange(1, 4))]
    tasks = [task(name, steps) for name in rng.sample(["t1", "t2"], rng.randrange(3))]
    endpoints = [{"name": name, "image": "i", "wsgi": "a:b"} for name in ("serve", "unused")]
    pipelines = [pipeline(f"p{index}", steps, tasks) for index in range(rng.randrange(3))]
    items = [{"step": s} for s in steps] + [{"task": t} for t in tasks] + [{"endpoint": e} for e in endpoints]
    items += [{rng.choice(["pipeline", "pipeline", "blueprint"]): p} for p in pipelines]
    rng.shuffle(items)
    return items


def mutated(data):
    """Changes some scalars, and drops some fields, anywhere."""
    data = copy.deepcopy(data)
    places = []

    def walk(value):
        if isinstance(value, dict):
            for key, item in value.items():
                places.append((value, key))
                walk(item)
        elif isinstance(value, list):
            for index, item in enumerate(value):
                places.append((value, index))
                walk(item)

    walk(data)
    for _ in range(rng.randrange(1, 4)):
        container, key = rng.choice(places)
        change = rng.random()
        if change < 0.3 and isinstance(container, dict):
            container.pop(key, None)
        elif key in ("default", "value") or change < 0.5:
            container[key if isinstance(container, dict) else min(key, len(container) - 1)] = rng.choice(ATOMS)
        elif key == "command":
            container[key] = command()
        elif key == "parameters" and isinstance(container, dict):
            container[key] = several(parameter)
        elif key == "override":
            container[key] = override({})
    return data


def reference(text, values):
    try:
        if lint(text).error_count:
            return None
        config = parse(text)
    except Exception:
        return None
    commands, pipelines = {}, {}
    for name, step in config.steps.items():
        try:
            commands[name] = step.build_command(values.get(name, {}))
        except Exception:
            commands[name] = "error"
    converter = PipelineConverter(config=config, commit_identifier="HEAD")
    for name, blueprint in config.pipelines.items():
        try:
            pipelines[name] = json.loads(json.dumps(converter.convert_pipeline(blueprint), default=str))
        except Exception:
            pipelines[name] = "error"
    return {"commands": commands, "pipelines": pipelines}


def is_same_number(expected, found):
    """In the JSON of `spec` infinities are null, and whole numbers beyond 64 bits are floats."""
    if found is None:
        return isinstance(expected, float) and expected in (float("inf"), float("-inf"))
    return isinstance(expected, int) and abs(expected) >= 2**63 and expected == found


def differences(place, expected, found):
    if place.startswith(".pipelines") and expected == "error":
        return  # The reference crashed: a task's variants meet an override of another commit.
    if isinstance(expected, dict) and isinstance(found, dict):
        for key in sorted(set(expected) | set(found)):
            yield from differences(f"{place}.{key}", expected.get(key, "(absent)"), found.get(key, "(absent)"))
    elif isinstance(expected, list) and isinstance(found, list) and len(expected) == len(found):
        for index, pair in enumerate(zip(expected, found)):
            yield from differences(f"{place}[{index}]", *pair)
    elif expected != found or type(expected) is not type(found):
        if not is_same_number(expected, found):
            yield f"{place}\n      reference {expected!r}\n      spec      {found!r}"


def main():
    texts = [open(path).read() for path in sys.argv[4:]]
    documents = []
    for text in texts:
        try:
            documents.append(yaml.safe_load(text))
        except yaml.YAMLError:
            pass
    for index in range(rounds):
        data = mutated(rng.choice(documents)) if documents and index % 2 else generated()
        texts.append(yaml.safe_dump(data, allow_unicode=True, sort_keys=False))
    questions, expected = [], []
    for text in texts:
        values = {
            name: {n: rng.choice(ATOMS + [None, [1, "a"], [[1]]]) for n in NAMES if rng.random() < 0.4}
            for name in ("train", "pre process", "eval")
            if rng.random() < 0.5
        }
        answer = reference(text, values)
        if answer is None:
            continue
        values = {step: {name: encode(value) for name, value in given.items()} for step, given in values.items()}
        questions.append({"ask": "file", "text": text, "values": values})
        expected.append(answer)
    lines = "".join(json.dumps(question) + "\n" for question in questions)
    answers = subprocess.run([binary], input=lines, capture_output=True, text=True, check=True).stdout.splitlines()
    bad = 0
    commands = sum(len(answer["commands"]) for answer in expected)
    pipelines = sum(len(answer["pipelines"]) for answer in expected)
    for question, want, answer in zip(questions, expected, answers):
        found = json.loads(answer)
        if "2020-09-02" in question["text"] + json.dumps(question["values"]):
            # A date in a template with a specification is refused; the reference prints the specification.
            want["commands"] = {step: found["commands"][step] if found["commands"][step] == "error" else lines
                                for step, lines in want["commands"].items()}  # fmt: skip
        found_differences = list(differences("", want, found)) if found != "invalid" else ["refused by spec"]
        if found_differences:
            bad += 1
            if bad <= 8:
                print("\n".join(difference[:600] for difference in found_differences[:4]))
                if bad <= 2:
                    print(question["text"][:2500])
    print(f"{len(questions)} of {len(texts)} files compared ({commands} steps, {pipelines} pipelines), {bad} differ")
    sys.exit(bad > 0)


if __name__ == "__main__":
    main()
