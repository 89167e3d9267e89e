"""What the sweep must show, and whether it does."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd
from _risk import DELTA, most_allowed
from _tables import OURS, interval, paired, plug_in_gains, table
from scipy.stats import norm

LEVEL = 0.05  # of a loss anywhere, where there is none
WATCHED = ("rt", "trec", "emotion")
Line = tuple[str, str, bool]


def targets(cells: pd.DataFrame, promised: pd.DataFrame | None) -> str:
    """Write one row a target."""
    lines = [*_losses(cells), *_accuracies(cells), *_words(cells), *_thresholds(cells)]
    if promised is not None:
        worst = promised["violated"].max()
        kept = worst <= most_allowed()
        limit = f"at most {most_allowed():.4f} ({DELTA:g} and Monte Carlo error, 99 %)"
        lines.append((f"`RiskAtMost` violated: {limit}", f"worst {worst:.4f}", kept))
    rows = [(name, found, "yes" if met else "**NO**") for name, found, met in lines]
    return table(["target", "found", "met"], rows)


def mean_of(cells: pd.DataFrame, data: str, method: str, n: int, metric: str) -> float:
    """Give the mean over the seeds."""
    chosen = cells.query("data == @data and method == @method and n == @n")
    return interval(chosen[metric])[0]


def _losses(cells: pd.DataFrame) -> Iterator[Line]:
    """Log loss is nowhere above that of the raw scores."""
    if set(WATCHED) <= set(cells["data"]):
        watched = cells[cells["data"].isin(WATCHED) & (cells["n"] > 0)]
        means = watched.groupby(["method", "n"])["log loss"].mean()
        worst = (means[OURS] - means["raw"]).max()
        name = f"mean log loss over {', '.join(WATCHED)} at most raw's at every n ≥ 16"
        yield name, f"largest difference {worst:+.3f}", worst <= 0
    gains = paired(cells[cells["n"] > 0], "log loss", OURS, "raw")
    above = gains[gains["gain"] < 0]
    found = [
        f"above at {cell.data} n={cell.n} ({-cell.gain:+.4f} ± {cell.half:.4f})"
        for cell in above.itertuples()
    ]
    name = "beyond that: log loss of each data set at most raw's, within the interval"
    yield name, ", ".join(found) or "everywhere", not (above["verdict"] == "loss").any()


def _accuracies(cells: pd.DataFrame) -> Iterator[Line]:
    for data, n, least in (("trec", 256, 0.78), ("rt-staicc", 1000, 0.74)):
        if data in set(cells["data"]):
            found = mean_of(cells, data, OURS, n, "accuracy")
            name = f"accuracy of {data} at n = {n} ≥ {least}"
            yield name, f"{found:.3f}", found >= least


def _words(cells: pd.DataFrame) -> Iterator[Line]:
    """Words alone are no better."""
    behind = [
        f"{data} n={n} ({ours:.3f}, {words:.3f})"
        for data in cells["data"].unique()
        for n in sorted(cells["n"].unique())
        if 0 < n <= 256
        and (ours := mean_of(cells, data, OURS, n, "accuracy"))
        <= (words := mean_of(cells, data, "TF-IDF", n, "accuracy"))
    ]
    name = "accuracy above that of TF-IDF at n ≤ 256"
    yield name, ", ".join(behind) or "everywhere", not behind


def _thresholds(cells: pd.DataFrame) -> Iterator[Line]:
    """Plug-in thresholds do not cost macro-F1."""
    gains = plug_in_gains(cells)
    lost = gains[gains["verdict"] == "loss"]
    found = ", ".join(f"{c.data} n={c.n} ({c.gain:+.4f})" for c in lost.itertuples())
    name = "plug-in macro-F1 at least argmax's, within the interval"
    yield name, found or "everywhere", lost.empty
    worst, least = gains.loc[gains["ratio"].idxmin()], gains.loc[gains["gain"].idxmin()]
    limit = norm.ppf(LEVEL / len(gains))
    name = (
        f"the same with test rows redrawn, in all {len(gains)} cells at once: above "
        f"{limit:.1f} standard errors (Bonferroni, {LEVEL:.0%})"
    )
    told = [f"{c.data} n={c.n}, {c.gain:+.4f} ({c.ratio:+.1f})" for c in (worst, least)]
    found = f"lowest ratio {told[0]}; largest loss {told[1]}"
    yield name, found, bool(worst["ratio"] > limit)
