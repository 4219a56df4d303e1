"""What the three steps share: where files are, how rows are read, how metrics are reported."""

import csv
import json
import operator
import os
import pathlib

INPUTS = pathlib.Path(os.environ.get("VH_INPUTS_DIR", "/valohai/inputs"))
OUTPUTS = pathlib.Path(os.environ.get("VH_OUTPUTS_DIR", "/valohai/outputs"))
CLASSES = 10


def only_file(name):
    """The one file of the input `name`."""
    (path,) = sorted((INPUTS / name).iterdir())
    return path


def read_rows(path):
    """The rows of a CSV file as (pixels, digit): the digit is the last column."""
    with open(path, newline="") as file:
        rows = [[int(cell) for cell in row] for row in csv.reader(file)]
    return [(row[:-1], row[-1]) for row in rows]


def report(**metrics):
    """Reports metrics: a JSON object alone on a line of standard output."""
    print(json.dumps(metrics), flush=True)


def scores(weights, pixels):
    """One score for each class; each class's weights end with its bias."""
    return [sum(map(operator.mul, row, pixels)) + row[-1] for row in weights]


def scaled(pixels, pixel_max):
    """Pixels between 0 and 1."""
    return [pixel / pixel_max for pixel in pixels]
