#!/usr/bin/env python3
"""Asks the reference and `spec` the same questions about the small languages and prints where they differ.

Not part of `cargo test`: it needs the reference from PyPI.

    python3 -m venv venv && venv/bin/pip install valohai-yaml==0.61.0 leval==1.4.0
    cargo build -p spec --example answer
    venv/bin/python crates/spec/tests/differential_meaning.py target/debug/examples/answer [ROUNDS] [SEED]

Questions: `str`, `repr`, `ascii` of values; `shlex.quote`, `str.split`, `int`, `float`; durations; `fnmatch`;
`str.format_map`; lint and evaluation of expressions. Known and wanted differences are skipped where they are made, with
the reason.
"""

import datetime
import fnmatch
import json
import random
import shlex
import subprocess
import sys
import warnings

from leval.extras.common_boolean_evaluator import CommonBooleanEvaluator
from leval.excs import NoSuchValue
from leval.universe.verifier import VerifierUniverse
from valohai_yaml.utils.duration import parse_duration
from valohai_yaml.utils.lint import _KeywordRewriterEvaluator

warnings.simplefilter("ignore")
binary = sys.argv[1]
rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 5000
rng = random.Random(int(sys.argv[3]) if len(sys.argv) > 3 else 1)


def encode(value):
    if isinstance(value, bool) or value is None or isinstance(value, str):
        return value
    if isinstance(value, int):
        return {"int": str(value)}
    if isinstance(value, float):
        return {"float": repr(value)}
    if isinstance(value, (datetime.date, datetime.datetime)):
        return {"date": str(value)}
    if isinstance(value, list):
        return [encode(item) for item in value]
    return {"map": [[encode(key), encode(item)] for key, item in value.items()]}


def random_text(alphabet="ab \t'\"\\n{}:!,.-_0159é\u0301\u00a0\u200b😀\x1b\n$*[]/", longest=10):
    return "".join(rng.choice(alphabet) for _ in range(rng.randrange(longest)))


def random_float():
    return rng.choice(
        [
            rng.random(),
            rng.uniform(-1e6, 1e6),
            rng.randrange(-50, 50) / rng.choice([1, 2, 4, 8, 10, 100]),
            float(rng.randrange(-10**6, 10**6)),
            10.0 ** rng.randrange(-320, 308) * rng.randrange(1, 100),
            rng.choice([0.0, -0.0, float("inf"), float("-inf"), float("nan"), 1e16, 9999999999999998.0, 1e-4, 1e-5]),
        ],
    )


def random_int():
    return rng.choice([rng.randrange(-9, 10), rng.randrange(-(10**6), 10**6), rng.randrange(-(2**100), 2**100)])


def random_date():
    date = datetime.date(rng.randrange(1, 9999), rng.randrange(1, 13), rng.randrange(1, 29))
    if rng.random() < 0.5:
        return date
    zone = rng.choice(
        [None, datetime.timezone.utc, datetime.timezone(datetime.timedelta(minutes=30 * rng.randrange(-20, 20)))],
    )
    clock = (rng.randrange(24), rng.randrange(60), rng.choice([0, rng.randrange(60)]), rng.choice([0, 400, 123456]))
    return datetime.datetime(date.year, date.month, date.day, *clock, tzinfo=zone)


def random_value(depth=2):
    kinds = [
        lambda: None,
        lambda: rng.random() < 0.5,
        random_int,
        random_float,
        random_text,
        random_date,
    ]
    if depth:
        kinds.append(lambda: [random_value(depth - 1) for _ in range(rng.randrange(4))])
        kinds.append(lambda: {random_text(): random_value(depth - 1) for _ in range(rng.randrange(3))})
    return rng.choice(kinds)()


def attempt(function, *errors):
    try:
        return function()
    except errors or Exception:
        return None


def texts():
    value = random_value()
    for ask, function in (("str", str), ("repr", repr), ("ascii", ascii)):
        yield {"ask": ask, "value": encode(value)}, function(value)
    text = random_text("ab '\"$~*{}=:,./-é\n", 8)
    yield {"ask": "quote", "text": text}, shlex.quote(text)
    text = random_text("ab \t\n\x1c\x1f\u00a0\u2003\u200b\x85", 12)
    yield {"ask": "split", "text": text}, text.split()
    text = random_text("0123456789_+-. eEinfINFatyx", 8)
    number = attempt(lambda: int(text, 10))
    yield {"ask": "int", "text": text}, None if number is None else str(number)
    text = rng.choice(["", " ", "-", "+"]) + rng.choice([text, "inf", "nan", "1_0", "1.", ".5", "1e5", "1_000.5e-1_0"])
    number = attempt(lambda: float(text))
    yield {"ask": "float", "text": text}, None if number is None else repr(number)


def durations():
    units = ["s", "m", "h", "d", "w", "q", "S", "", "min", "hours", "ms", "mo", " m", "  weeks"]
    numbers = ["1", "10", "0", "1.5", ".5", "2.", "1.2.3", "-5", "007", "99999999999"]
    text = rng.choice(["", " ", ", ", "a "]).join(
        rng.choice(numbers) + rng.choice(units) for _ in range(rng.randrange(4))
    )

    def ask():
        duration = parse_duration(text)
        return duration if duration is None else str(duration // datetime.timedelta(microseconds=1))

    try:
        expected = ask()
    except Exception:
        expected = "error"
    yield {"ask": "duration", "text": text}, expected


def patterns():
    pattern = random_text("ab*?[]!-/.c", 9)
    text = random_text("abc!-/.[]", 7)
    if "[!" in pattern.replace("[]", "["):
        pattern = pattern.replace("!", "")  # CPython turns `[b-a!x]` into a negation, by accident.
    yield {"ask": "fnmatch", "pattern": pattern, "text": text}, fnmatch.fnmatch(text, pattern)


def templates():
    value = random_value(1)
    spec = "".join(
        [
            rng.choice(["", "", "*", "0", "é"]),
            rng.choice(["", "<", ">", "^", "="]),
            rng.choice(["", "", "+", "-", " "]),
            rng.choice(["", "", "", "z"]),
            rng.choice(["", "", "#"]),
            rng.choice(["", "", "0"]),
            rng.choice(["", "5", "12", "1"]),
            rng.choice(["", "", ",", "_"]),
            rng.choice(["", "", ".3", ".0", ".12", "."]),
            rng.choice(["", "d", "f", "g", "e", "E", "F", "G", "%", "x", "X", "o", "b", "n", "s", "c", "q"]),
        ],
    )
    field = "{" + rng.choice(["v", "value", "name", "v", "v", "other", "0", "", "v "]) + rng.choice(["", "", "!r", "!s", "!a", "!x"])
    field += rng.choice(["", ":" + spec, ":" + spec, ":{v}", ":{name}"]) + "}"
    template = rng.choice(["", "--{name}=", "{{", "}}", "}", "{"]) + field + rng.choice(["", "", "x", "{{}}", "}"])
    if isinstance(value, (datetime.date, datetime.datetime)) and ":" in template:
        return  # strftime codes are refused here.
    if "c" in spec[-1:] and isinstance(value, int):
        value = rng.choice([97, 233, 128512])
    environment = {"name": "lr", "value": value, "v": value}
    try:
        expected = {"ok": template.format_map(environment)}
    except ValueError:
        expected = "ValueError"
    except Exception:
        expected = "other"
    if ":{v}" in template and isinstance(value, float):
        return  # Its digits would be a width or a precision of a size that is refused here.
    if len(str(expected)) > 4000:
        return  # Such widths are refused here.
    if isinstance(value, int) and abs(value) > 10**15 and spec[-1:] in "eEfFgG%" and ":" in template:
        return  # Rounding of whole numbers beyond 2^53 is not promised.
    yield {"ask": "format", "text": template, "name": "lr", "value": encode(value)}, expected


ATOMS = [
    "a", "b", "stop", "metadata.x", "metadata.val-loss", "metadata.s", "l", "missing", "m.n", "top-5", "if", "x.class",
    "1", "0", "2.5", "1e3", ".5", "1_0", "0x1f", "1.", "'x'", '"0.9"', "'a' 'b'", "''", "None", "True", "False",
    "(1, 2)", "()", "{1, 2}", "('x',)", "-1", "- 2.5", "not a", "not b", "abs(a)", "min(a, 2)", "max(1, b, 2.5)", "abs(-3)",
    "min('ba')", "f(a)", "'\\n'", "r'\\n'", "5", "10",
]  # fmt: skip
OPERATORS = [
    "+", "-", "*", "/", "//", "==", "!=", "<", "<=", ">", ">=", "in", "not in", "is", "is not", "and", "or", "and", "or",
    ">", "<", "==",
]  # fmt: skip
VALUES = {
    "a": 1, "b": 0, "stop": 2.5, "metadata.x": "0.9", "metadata.val-loss": 0.25, "metadata.s": "text", "l": [1, "x", 2.5],
    "if": True, "x.class": None, "top-5": 7, "a-b": -3, "n": None,
}  # fmt: skip


def random_expression(depth):
    if depth == 0 or rng.random() < 0.2:
        return rng.choice(ATOMS)
    kind = rng.random()
    if kind < 0.75:
        space = rng.choice([" ", " ", " ", "", "  "])
        left, right = random_expression(depth - 1), random_expression(depth - 1)
        operator = rng.choice(OPERATORS)
        if operator.isalpha() or " " in operator:
            space = " "
        return f"{left}{space}{operator}{space}{right}"
    if kind < 0.85:
        return f"({random_expression(depth - 1)})"
    if kind < 0.92:
        return f"not {random_expression(depth - 1)}"
    return f"{rng.choice(['abs', 'min', 'max', '-', '+'])}({random_expression(depth - 1)})"


def mangle(text):
    """Breaks an expression a little, with what may and may not stand in one."""
    for _ in range(rng.randrange(1, 3)):
        at = rng.randrange(len(text) + 1)
        piece = rng.choice(
            list("()[]{}'\"\\.,:;=<>!+-*/%@&|^~#$? \n_1a0") + ["if ", " for ", "lambda", "1.", "0b", "0x", "e5", "not ", "**", " is "],
        )
        text = text[:at] + piece + text[at + rng.randrange(3):]
    return text


def lints(text):
    try:
        _KeywordRewriterEvaluator(VerifierUniverse(), max_depth=8).evaluate_expression(text)
        return True
    except Exception:
        return False


def expressions():
    text = random_expression(rng.randrange(4))
    if rng.random() < 0.4:
        text = mangle(text)
    expected = lints(text)
    yield {"ask": "lint", "text": text}, expected
    values = {tuple(name.split(".")) if "." in name else name: value for name, value in VALUES.items()}
    if not text:
        return
    if not expected:
        return  # Evaluation may not reach what lint refuses; here it is refused before.
    if " is" in text:
        return  # Identity of objects has no counterpart here.
    try:
        truth = CommonBooleanEvaluator().evaluate(text, values)
    except NoSuchValue:
        truth = "missing"
    except Exception:
        truth = "invalid"
    question = {"ask": "holds", "text": text, "values": {name: encode(value) for name, value in VALUES.items()}}
    yield question, truth


def main():
    questions = []
    for _ in range(rounds):
        for make in (texts, durations, patterns, templates, expressions):
            questions.extend(make())
    lines = "".join(json.dumps(question) + "\n" for question, _ in questions)
    answers = subprocess.run([binary], input=lines, capture_output=True, text=True, check=True).stdout.splitlines()
    counts, shown = {}, {}
    for (question, expected), answer in zip(questions, answers):
        ask = question["ask"]
        good, bad = counts.get(ask, (0, 0))
        # What has no value in any universe may be refused before it is evaluated.
        answer = answer.replace("refused", "invalid")
        if json.loads(answer) == expected:
            counts[ask] = (good + 1, bad)
            continue
        counts[ask] = (good, bad + 1)
        shown[ask] = shown.get(ask, 0) + 1
        if shown[ask] <= 12:
            question.pop("values", None)
            for line in (json.dumps(question, ensure_ascii=False), f"    reference {expected!r}", f"    spec      {answer}"):
                print(line[:300])
    for ask, (good, bad) in sorted(counts.items()):
        print(f"{ask}: {good} agree, {bad} differ")
    sys.exit(any(bad for _, bad in counts.values()))


if __name__ == "__main__":
    main()
