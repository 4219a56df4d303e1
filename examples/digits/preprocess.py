"""Splits the digits into rows to learn from and rows to be measured on."""

import argparse
import csv
import gzip
import pathlib
import random

from common import OUTPUTS, report

DATA = pathlib.Path(__file__).parent / "data" / "digits.csv.gz"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--test-fraction", type=float, default=0.2)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--rows", type=int)
    options = parser.parse_args()

    with gzip.open(DATA, "rt", newline="") as file:
        rows = list(csv.reader(file))
    # Neighbouring rows are of one writer, so the order has to go before the split.
    random.Random(options.seed).shuffle(rows)
    rows = rows[: options.rows]
    test_rows = round(len(rows) * options.test_fraction)

    write(OUTPUTS / "test.csv", rows[:test_rows])
    write(OUTPUTS / "train.csv", rows[test_rows:])
    report(
        train_rows=len(rows) - test_rows,
        test_rows=test_rows,
        pixel_max=max(int(pixel) for row in rows for pixel in row[:-1]),
    )


def write(path, rows):
    """Writes rows as CSV."""
    with open(path, "w", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows(rows)
    print(f"{path.name}: {len(rows)} rows", flush=True)


if __name__ == "__main__":
    main()
