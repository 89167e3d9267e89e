"""Draw the pictures of docs/calibration.md and docs/labels.md, and print their tables.

All comes from the answers in docs/examples/data, so no model is needed. With --check
nothing is drawn, and it fails where a page does not hold what would be printed.
"""

from __future__ import annotations

import sys
from pathlib import Path

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
from sklearn.calibration import calibration_curve
from sklearn.metrics import accuracy_score, log_loss

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE / "examples")]

from recorded import PROMPT, WORDS, RecordedAnswers, load_reviews  # noqa: E402

from sklearn_logprob import (  # noqa: E402
    LogprobClassifier,
    calibrated_proba,
    make_calibrator,
)

PICTURES = HERE / "pictures"
BLUE, VERMILION = "#0072B2", "#D55E00"
SIZES = [0, 4, 8, 16, 32, 64, 128, 256]
REPEATS = 50
CHECK = "--check" in sys.argv


def main() -> None:
    matplotlib.use("agg")
    PICTURES.mkdir(exist_ok=True)
    scores = [label_scores(subset) for subset in ("train", "test")]
    tables = {
        "calibration.md": calibration_table(*scores),
        "labels.md": labels_table(*scores),
    }
    for page, table in tables.items():
        print(f"{page}\n\n{table}\n")
        if CHECK and table not in (HERE / page).read_text(encoding="utf-8"):
            sys.exit(f"docs/{page} is stale: put what is printed above into it")


def label_scores(subset):
    """Give label log scores, the columns rotten and fresh, and whether each is fresh."""
    X, y = load_reviews(subset)
    clf = LogprobClassifier(
        RecordedAnswers(), prompt=PROMPT, verbalizer=WORDS, calibrator=None
    ).fit(X, y)
    return clf.label_scores(X)[:, ::-1], (np.array(y) == "fresh").astype(int)


def calibration_table(train, test):
    """Compare what the model says, batch calibration and the default on test reviews."""
    (S, y), (S_test, y_test) = train, test
    ways = {
        "as it comes": make_calibrator(None).fit(S, y),
        "batch calibration, no label": make_calibrator("auto").fit(S),
        f"fitted on {len(y)} labels": make_calibrator("auto").fit(S, y),
    }
    P = {name: calibrated_proba(way, S_test)[:, 1] for name, way in ways.items()}
    draw_histograms(P, y_test)
    draw_reliability(P, y_test)
    lines = [f"{'':<29}says fresh   right   log loss"]
    for name, p in P.items():
        said, right = np.mean(p > 0.5), accuracy_score(y_test, p > 0.5)
        lines.append(f"{name:<29}{said:>10.0%}{right:>8.1%}{log_loss(y_test, p):>11.3f}")
    return "\n".join([*lines, f"{'what they are':<29}{y_test.mean():>10.0%}"])


def draw_histograms(P, y):
    fig, axes = plt.subplots(
        len(P), 1, figsize=(6.4, 6), sharex=True, layout="constrained"
    )
    for ax, (name, p) in zip(axes, P.items(), strict=True):
        for value, label, color in ((1, "fresh", BLUE), (0, "rotten", VERMILION)):
            bins = np.linspace(0, 1, 26)
            style = {"color": color, "alpha": 0.35} if value else {"color": color}
            kind = "stepfilled" if value else "step"
            ax.hist(p[y == value], bins, histtype=kind, lw=1.6, label=label, **style)
        ax.axvline(0.5, color="black", ls=":")
        ax.set(title=name, ylabel="test reviews")
    axes[0].legend(title="true class", loc="upper left")
    axes[-1].set_xlabel("probability of fresh")
    save(fig, "calibration_histograms")


def draw_reliability(P, y):
    fig, axes = plt.subplots(1, len(P), figsize=(9, 3.5), sharey=True)
    fig.set_layout_engine("constrained")
    for ax, (name, p) in zip(axes, P.items(), strict=True):
        share, mean = calibration_curve(y, p, n_bins=8, strategy="quantile")
        half = 1.96 * np.sqrt(share * (1 - share) / (len(y) / 8))
        ax.plot([0, 1], [0, 1], color="0.6", ls="--")
        ax.errorbar(mean, share, half, fmt="o-", color=BLUE, capsize=3)
        ax.set(title=name, xlabel="mean probability of fresh", xlim=(0, 1), ylim=(0, 1))
        ax.title.set_fontsize("medium")
    axes[0].set_ylabel("share that is fresh")
    save(fig, "calibration_reliability")


def labels_table(train, test):
    """Show what more labels bring, over random draws of the training reviews."""
    (S, y), (S_test, y_test) = train, test
    found = {size: [] for size in SIZES}
    for size in SIZES:
        for seed in range(REPEATS):
            rows = np.random.default_rng(seed).permutation(len(y))[:size]
            calibrator = make_calibrator("auto")
            if size and len(set(y[rows])) == 2:
                fitted = calibrator.fit(S[rows], y[rows])
            else:  # without labels of both classes, unlabelled reviews are still there
                fitted = calibrator.fit(S)
            p = calibrated_proba(fitted, S_test)[:, 1]
            found[size].append((log_loss(y_test, p), accuracy_score(y_test, p > 0.5)))
    draw_labels({size: np.array(each) for size, each in found.items()})
    lines = ["labels   log loss: mean, worst of ten   accuracy: mean, worst of ten"]
    for size, each in found.items():
        loss, right = np.array(each).T
        lines.append(
            f"{size:>6}{loss.mean():>16.3f}{np.quantile(loss, 0.9):>12.3f}"
            f"{right.mean():>19.0%}{np.quantile(right, 0.1):>12.0%}"
        )
    return "\n".join(lines)


def draw_labels(found):
    fig, axes = plt.subplots(1, 2, figsize=(9, 3.7))
    fig.set_layout_engine("constrained")
    places = range(len(found))
    names = ("log loss on test reviews (nats)", "accuracy on test reviews")
    for k, (ax, name) in enumerate(zip(axes, names, strict=True)):
        values = np.array([each[:, k] for each in found.values()])
        low, high = np.quantile(values, [0.1, 0.9], axis=1)
        ax.fill_between(places, low, high, color=BLUE, alpha=0.2, label="8 of 10 draws")
        ax.plot(places, values.mean(axis=1), "o-", color=BLUE, label="mean")
        ax.set(xlabel="labelled reviews", ylabel=name)
        ax.set_xticks(places, [str(size) for size in found])
    axes[0].legend()
    save(fig, "labels")


def save(fig, name):
    if not CHECK:
        fig.savefig(PICTURES / f"{name}.png", dpi=110)


if __name__ == "__main__":
    main()
