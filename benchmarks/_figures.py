"""One picture a data set: four metrics against the number of labels."""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl
import pandas as pd
from _datasets import SOURCES
from _tables import LOWER, METRICS, interval

mpl.use("Agg")
import matplotlib.pyplot as plt

LINES = {
    "ours, auto": ("#0b5fa5", "-", 2.6),
    "ours, labels": ("#6aaede", "-", 1.6),
    "ours, no labels": ("#0b5fa5", "", 0),
    "raw": ("#888888", ":", 1.6),
    "scikit-learn sigmoid": ("#b15928", "--", 1.4),
    "scikit-learn temperature": ("#e6a817", "--", 1.4),
    "TF-IDF": ("#2e8b57", "-", 1.6),
    "MiniLM": ("#a0328c", "-", 1.6),
}


def draw(cells: pd.DataFrame, name: str, path: Path) -> None:
    """Draw and save."""
    figure, axes = plt.subplots(2, 2, figsize=(10, 7.2), layout="constrained")
    mine = cells[cells["data"] == name]
    sizes, seeds = sorted(mine["n"].unique()), mine["seed"].nunique()
    for axis, metric in zip(axes.flat, METRICS, strict=True):
        for method, (color, style, width) in LINES.items():
            found = [
                (place, *interval(values))
                for place, n in enumerate(sizes)
                if len(values := _values(mine, method, n, metric))
            ]
            # as in the tables, n/a where half the seeds or more have no value
            known = [cell[:3] for cell in found if 2 * cell[3] > seeds]
            if not known:
                continue
            x, mean, half = zip(*known, strict=True)
            axis.errorbar(
                x, mean, half, color=color, ls=style or "none", lw=width, label=method,
                marker="o", ms=4 if style else 7, capsize=2, elinewidth=0.8,
            )  # fmt: skip
        axis.set_title(metric, fontsize=10)
        axis.set_xticks(range(len(sizes)), [str(n) for n in sizes])
        axis.grid(alpha=0.25)
        if metric in LOWER:
            axis.set_ylim(bottom=0)
    for axis in axes[1]:
        axis.set_xlabel("labels")
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4, frameon=False)
    figure.suptitle(f"{SOURCES[name].title}: mean and 95 % interval over seeds")
    figure.savefig(path, dpi=110)
    plt.close(figure)


def _values(cells: pd.DataFrame, method: str, n: int, metric: str) -> list[float]:
    chosen = cells[(cells["method"] == method) & (cells["n"] == n)]
    return chosen[metric].tolist()
