"""Measures the model on rows that training never saw."""

import glob
import json

import joblib
import numpy
from sklearn.metrics import accuracy_score, confusion_matrix


def main():
    [model_path] = glob.glob("/valohai/inputs/model/*")
    [rows_path] = glob.glob("/valohai/inputs/rows/*")
    model, rows = joblib.load(model_path), numpy.load(rows_path)
    guesses = model.predict(rows["pixels"])
    with open("/valohai/outputs/confusion.json", "w") as file:
        json.dump(confusion_matrix(rows["digits"], guesses).tolist(), file)
    print(json.dumps({"accuracy": round(float(accuracy_score(rows["digits"], guesses)), 4)}), flush=True)


if __name__ == "__main__":
    main()
