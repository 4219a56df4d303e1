"""Measures the model on rows it has not seen: accuracy and the confusion matrix."""

import csv
import json

from common import CLASSES, OUTPUTS, only_file, read_rows, report, scaled, scores


def main():
    with open(only_file("model")) as file:
        model = json.load(file)
    rows = read_rows(only_file("rows"))

    # confusion[digit][guess]: how often `digit` was taken for `guess`.
    confusion = [[0] * CLASSES for _ in range(CLASSES)]
    for pixels, digit in rows:
        values = scores(model["weights"], scaled(pixels, model["pixel_max"]))
        confusion[digit][values.index(max(values))] += 1
    right = sum(confusion[digit][digit] for digit in range(CLASSES))
    accuracy = right / len(rows)

    with open(OUTPUTS / "confusion.json", "w") as file:
        json.dump({"labels": list(range(CLASSES)), "confusion": confusion, "accuracy": accuracy}, file)
    with open(OUTPUTS / "confusion.csv", "w", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(["digit", *range(CLASSES)])
        table.writerows([digit, *counts] for digit, counts in enumerate(confusion))

    print("rows: the digit, columns: what it was taken for", flush=True)
    for digit, counts in enumerate(confusion):
        print(digit, " ".join(f"{count:3}" for count in counts), flush=True)
    report(test_rows=len(rows), accuracy=round(accuracy, 6), confusion=confusion)


if __name__ == "__main__":
    main()
