"""Tables of `accuracy.md`, from the cells of the sweep."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd
from scipy.stats import t

METRICS = ("accuracy", "macro-F1", "log loss", "calibration error")
LOWER = ("log loss", "calibration error")  # is better
OURS = "ours, auto"
PLUG_IN = "macro-F1, plug-in"
ROW_ERROR = "macro-F1, plug-in, row error"


def interval(values: Iterable[float]) -> tuple[float, float, int]:
    """Give mean, half a 95 % interval over the seeds, and how many there are."""
    known = np.asarray([v for v in values if not np.isnan(v)])
    if len(known) < 2:
        return (float(known.mean()) if len(known) else np.nan), np.nan, len(known)
    half = t.ppf(0.975, len(known) - 1) * known.std(ddof=1) / np.sqrt(len(known))
    return float(known.mean()), float(half), len(known)


def shown(values: Sequence[float]) -> str:
    """Write mean ± interval; n/a where half the seeds or more have no value."""
    mean, half, n = interval(values)
    if 2 * n <= len(values):
        return "n/a"
    return f"{mean:.3f}" if half < 5e-4 else f"{mean:.3f} ± {half:.3f}"


def table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Write Markdown."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines) + "\n"


def of_metric(cells: pd.DataFrame, metric: str) -> str:
    """One data set: methods down, numbers of labels across."""
    sizes = sorted(cells["n"].unique())
    rows = []
    for method in dict.fromkeys(cells["method"]):
        mine = cells[cells["method"] == method]
        found = [mine.loc[mine["n"] == n, metric].to_numpy() for n in sizes]
        rows.append([method, *(shown(values) if len(values) else "" for values in found)])
    return table([metric, *(f"n = {n}" for n in sizes)], rows)


def paired(cells: pd.DataFrame, metric: str, method: str, other: str) -> pd.DataFrame:
    """How much better `method` is than `other` on the same rows, in each cell."""
    sign = -1 if metric in LOWER else 1
    wide = cells.pivot_table(
        index=["data", "n", "seed"], columns="method", values=metric, sort=False
    )
    if not {method, other} <= set(wide):
        return pd.DataFrame(columns=["data", "n", "gain", "half", "verdict"])
    gains = (sign * (wide[method] - wide[other])).dropna()
    rows = []
    for (data, n), values in gains.groupby(level=["data", "n"], sort=False):
        mean, half, _ = interval(values)
        verdict = "tie" if not abs(mean) > half else "win" if mean > 0 else "loss"
        rows.append((data, n, mean, half, verdict))
    return pd.DataFrame(rows, columns=["data", "n", "gain", "half", "verdict"])


def plug_in_gains(cells: pd.DataFrame) -> pd.DataFrame:
    """How much macro-F1 plug-in thresholds gain over the argmax, in each cell.

    `half` is half a 95 % interval over the seeds, `error` a standard error that covers
    the choice of test rows too.
    """
    mine = cells[(cells["method"] == OURS) & (cells["n"] > 0)]
    both = pd.concat(
        [
            mine.assign(method="argmax"),
            mine.assign(method="plug-in", **{"macro-F1": mine[PLUG_IN]}),
        ]
    )
    gains = paired(both, "macro-F1", "plug-in", "argmax")
    groups = mine.assign(gain=mine[PLUG_IN] - mine["macro-F1"]).groupby(["data", "n"])
    by_draw = groups["gain"].std(ddof=1) / np.sqrt(groups["gain"].count())
    errors = np.hypot(by_draw, groups[ROW_ERROR].mean())
    gains = gains.merge(errors.rename("error").reset_index(), on=["data", "n"])
    return gains.assign(ratio=gains["gain"] / gains["error"].where(gains["error"] > 0, 1))


def standings(cells: pd.DataFrame, method: str = OURS) -> str:
    """How often `method` wins, ties and loses against each of the others."""
    rows = []
    for other in dict.fromkeys(cells.loc[cells["n"] > 0, "method"]):
        if other == method:
            continue
        row = [other]
        for metric in METRICS:
            verdicts = paired(cells, metric, method, other)["verdict"]
            counts = [(verdicts == v).sum() for v in ("win", "tie", "loss")]
            row.append(" / ".join(map(str, counts)))
        rows.append(row)
    return table([f"{method} against", *METRICS], rows)


def losses(cells: pd.DataFrame, others: Sequence[str], method: str = OURS) -> str:
    """List every cell in which another method is better by more than the interval."""
    rows = []
    for metric in METRICS:
        for other in others:
            lost = paired(cells, metric, method, other)
            for cell in lost[lost["verdict"] == "loss"].itertuples():
                gain = f"{-cell.gain:.3f} ± {cell.half:.3f}"
                rows.append([metric, other, cell.data, cell.n, gain])
    return table(["metric", "better", "data", "n", "by"], rows)
