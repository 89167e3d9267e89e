"""Make the tables and pictures of docs/experiments.md, with the embedded model."""

from __future__ import annotations

from pathlib import Path

import matplotlib
import pandas as pd
from sklearn.calibration import CalibrationDisplay
from sklearn.metrics import DetCurveDisplay, PrecisionRecallDisplay, RocCurveDisplay

from sklearn_logprob import LogprobClassifier
from sklearn_logprob.datasets import fetch_rotten_tomatoes
from sklearn_logprob.plots import (
    OtherTokensDisplay,
    SoftHardDisplay,
    StabilityDisplay,
    ThresholdDisplay,
)
from sklearn_logprob.stability import rank_agreement, sensitivity, stability, summarize

matplotlib.use("agg")
PICTURES = Path(__file__).with_name("experiments")
N = 60
WORDS = {"fresh": "Positive", "rotten": "Negative"}
TEXTS = [
    "this sucks, it's awesome",
    "A dull, lifeless film.",
    "Warm, funny and beautifully acted.",
]


def main() -> None:
    PICTURES.mkdir(exist_ok=True)
    pd.set_option("display.width", 100, "display.max_columns", 20)
    X, y = fetch_rotten_tomatoes(return_X_y=True)
    X_test, y_test = fetch_rotten_tomatoes(subset="test", return_X_y=True)
    X, y, X_test, y_test = X[:N], y[:N], X_test[:N], y_test[:N]

    frame = stability("llama-cpp", X, y, verbalizer=WORDS)
    table = summarize(frame)
    table.columns = table.columns.str.replace("calibrated", "cal")
    print(table.droplevel("model").round(2).to_string(), end="\n\n")
    better = (table["cal_log_loss"] < table["log_loss"]).sum()
    print(f"log loss is lower after calibration in {better} of {len(table)} wordings")
    for name in ("true_class", "prediction", "calibrated_prediction"):
        print(f"{name} is fresh: {(frame[name] == 'fresh').mean():.0%}")
    print(sensitivity(frame).T.round(2).to_string(), end="\n\n")
    lower = frame[frame["label_style"] == "lower"]
    print(rank_agreement(lower, by=["style"]).round(2).to_string(), end="\n\n")
    save("styles", StabilityDisplay.from_predictions(lower, by="style"))
    repaired = StabilityDisplay.from_predictions(
        frame, by="label_style", value=["raw", "calibrated"]
    )
    save("repaired", repaired)

    words = {label: word.lower() for label, word in WORDS.items()}
    clf = LogprobClassifier(
        "llama-cpp",
        prompt="json",
        verbalizer=words,
        threshold="balanced_accuracy",
        pos_label="fresh",
        random_state=0,
    ).fit(X, y)
    save("threshold", ThresholdDisplay.from_estimator(clf, X_test, y_test))
    save("other_tokens", OtherTokensDisplay.from_estimator(clf, X_test))
    print("accuracy on test reviews:", round(clf.score(X_test, y_test), 2))

    figure = matplotlib.figure.Figure(figsize=(9, 8), layout="constrained")
    displays = (
        RocCurveDisplay,
        PrecisionRecallDisplay,
        DetCurveDisplay,
        CalibrationDisplay,
    )
    for ax, display in zip(figure.subplots(2, 2).flat, displays, strict=True):
        drawn = {"n_bins": 5} if display is CalibrationDisplay else {}
        display.from_estimator(
            clf, X_test, y_test, ax=ax, pos_label="fresh", name="calibrated", **drawn
        )
    figure.savefig(PICTURES / "scikit_learn.png", dpi=100)

    asked = clf.set_params(prompt="question", calibrator=None, threshold=None).fit()
    drawn = SoftHardDisplay.from_estimator(asked, TEXTS, label="fresh", n_draws=200)
    save("soft_hard", drawn)


def save(name: str, display: object) -> None:
    display.figure_.savefig(PICTURES / f"{name}.png", dpi=100)


if __name__ == "__main__":
    main()
