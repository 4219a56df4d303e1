"""Splits the digits that come with scikit-learn into rows for training and rows for the test."""

import argparse
import json

import numpy
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

OUTPUTS = "/valohai/outputs"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--test-fraction", type=float, default=0.2)
    parser.add_argument("--seed", type=int, default=7)
    options = parser.parse_args()

    pixels, digits = load_digits(return_X_y=True)
    parts = train_test_split(pixels, digits, test_size=options.test_fraction, random_state=options.seed, stratify=digits)
    numpy.savez_compressed(f"{OUTPUTS}/train.npz", pixels=parts[0], digits=parts[2])
    numpy.savez_compressed(f"{OUTPUTS}/test.npz", pixels=parts[1], digits=parts[3])
    print(json.dumps({"train_rows": len(parts[2]), "test_rows": len(parts[3])}), flush=True)


if __name__ == "__main__":
    main()
