"""Trains a support vector classifier, and reports how it does on parts of the rows that it was not trained on."""

import argparse
import glob
import json

import joblib
import numpy
from sklearn.model_selection import cross_val_score
from sklearn.svm import SVC


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--gamma", type=float, default=0.001)
    parser.add_argument("--penalty", type=float, default=10)
    options = parser.parse_args()

    [path] = glob.glob("/valohai/inputs/rows/*")
    rows = numpy.load(path)
    model = SVC(gamma=options.gamma, C=options.penalty)
    for fold, score in enumerate(cross_val_score(model, rows["pixels"], rows["digits"], cv=3)):
        print(json.dumps({"fold": fold, "accuracy": round(float(score), 4)}), flush=True)
    model.fit(rows["pixels"], rows["digits"])
    joblib.dump(model, "/valohai/outputs/model.joblib")
    print(f"model.joblib: {len(model.support_)} support vectors", flush=True)


if __name__ == "__main__":
    main()
