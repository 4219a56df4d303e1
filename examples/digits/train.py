"""Trains a softmax classifier, one row at a time, and reports the loss of every epoch."""

import argparse
import json
import math
import random

from common import CLASSES, OUTPUTS, only_file, read_rows, report, scaled, scores


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--learning-rate", type=float, default=0.1)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--pixel-max", type=int, default=16)
    options = parser.parse_args()

    rows = [(scaled(pixels, options.pixel_max), digit) for pixels, digit in read_rows(only_file("rows"))]
    print(f"{len(rows)} rows, {options.epochs} epochs", flush=True)
    # Zeros are a fair start: the loss of this model has one valley.
    weights = [[0.0] * (len(rows[0][0]) + 1) for _ in range(CLASSES)]
    order = random.Random(options.seed)
    for epoch in range(1, options.epochs + 1):
        order.shuffle(rows)
        # Smaller steps towards the end, so that the last rows do not outweigh the others.
        rate = options.learning_rate / math.sqrt(epoch)
        loss, right = learn(weights, rows, rate)
        report(epoch=epoch, loss=round(loss, 6), train_accuracy=round(right, 6), learning_rate=round(rate, 6))

    with open(OUTPUTS / "model.json", "w") as file:
        json.dump({"pixel_max": options.pixel_max, "weights": weights}, file)
    print("model.json: written", flush=True)


def learn(weights, rows, rate):
    """Goes over all rows once. Returns the mean loss and the share of rows that were right when they were met."""
    loss, right = 0.0, 0
    for pixels, digit in rows:
        chances = softmax(scores(weights, pixels))
        loss -= math.log(max(chances[digit], 1e-12))
        right += chances.index(max(chances)) == digit
        for label, row in enumerate(weights):
            step = rate * (chances[label] - (label == digit))
            row[:] = [weight - step * pixel for weight, pixel in zip(row, pixels)] + [row[-1] - step]
    return loss / len(rows), right / len(rows)


def softmax(values):
    """Turns scores into chances that sum to one."""
    top = max(values)
    powers = [math.exp(value - top) for value in values]
    total = sum(powers)
    return [power / total for power in powers]


if __name__ == "__main__":
    main()
