"""`results/accuracy.md` and its pictures."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from _datasets import SOURCES
from _figures import draw
from _prompts import CHOSEN, PROMPTS
from _tables import (
    METRICS,
    OURS,
    interval,
    losses,
    of_metric,
    paired,
    plug_in_gains,
    shown,
    standings,
    table,
)
from _targets import targets

TOP = """\
# Accuracy

Written by `python benchmarks/accuracy.py`; every cell is in `accuracy.csv`. What is
compared and how is in [README.md](../README.md). Intervals are 95 % over {seeds} draws of
the labelled rows (Student's t); the test rows are the same for all, so that they do not
cover the choice of test rows. Differences are paired: the same labelled rows.

{missing}## Targets

{targets}
## Ours against each of the others

`{ours}` against each, in the {cells} cells of data set × n with labels: how often it is
better / within the interval / worse.

{standings}
"""

WAYS = ("macro-F1, plug-in", "macro-F1, plug-in without labels", "macro-F1, search")

THRESHOLDS = """\
## Macro-F1 by thresholds

Of `{ours}`. "plug-in" is `BestMetric("f1_macro")`; "plug-in without labels" takes the
probabilities as they are, `BestMetric("f1_macro").fit(P)`, which was the default before.

{ways}
What plug-in gains over the argmax (negative: loses), and in brackets the standard error
of that, over the draws of the labelled rows and of the test rows.

{gains}"""


def write_report(
    cells: pd.DataFrame,
    zero: pd.DataFrame | None,
    promised: pd.DataFrame | None,
    folder: Path,
) -> None:
    """Write the tables, and a picture a data set; what was not run is left out."""
    cells = cells.sort_values("data", key=_place, kind="stable")
    names = list(dict.fromkeys(cells["data"]))
    missing = [name for name in SOURCES if name not in names]
    top = TOP.format(
        missing=f"Not run yet: {', '.join(missing)}.\n\n" if missing else "",
        seeds=cells["seed"].nunique(),
        targets=targets(cells, promised),
        ours=OURS,
        cells=len(names) * (cells["n"].nunique() - 1),
        standings=standings(cells),
    )
    parts = [
        top,
        _losses(cells),
        _calibrators(cells),
        _readouts(cells),
        _no_labels(cells),
    ]
    parts.append(_thresholds(cells))
    for name in names:
        draw(cells, name, folder / f"accuracy_{name}.png")
        parts.append(_data_set(cells[cells["data"] == name], name))
    parts += [] if zero is None else [_zero_shot(zero)]
    parts += [] if promised is None else [_promises(promised)]
    (folder / "accuracy.md").write_text("\n".join(parts))


def _place(names: pd.Series) -> pd.Series:
    return names.map(list(SOURCES).index)


def _calibrators(cells: pd.DataFrame) -> str:
    return (
        "## The default calibrator against others\n\nOn label scores alone, without the "
        f"other tokens.\n\n{standings(cells, 'ours, labels')}\n"
    )


def _losses(cells: pd.DataFrame) -> str:
    others = [m for m in dict.fromkeys(cells["method"]) if not m.startswith("ours")]
    return (
        f"### Where `{OURS}` loses\n\nAll cells in which another method is better by "
        f"more than the interval, and by how much.\n\n{losses(cells, others)}"
    )


def _readouts(cells: pd.DataFrame) -> str:
    """Answer whether "auto" is safe as a default."""
    rows = []
    for metric in ("log loss", "accuracy"):
        gains = paired(cells, metric, OURS, "ours, labels")
        for name in dict.fromkeys(gains["data"]):
            mine = gains[gains["data"] == name]
            found = [f"{c.gain:+.3f} ± {c.half:.3f}" for c in mine.itertuples()]
            rows.append([metric, name, *found])
    sizes = [f"n = {n}" for n in sorted(cells.loc[cells["n"] > 0, "n"].unique())]
    return (
        '## readout="auto" against "labels"\n\nHow much better "auto" is; negative where '
        f"it is worse.\n\n{table(['metric', 'data', *sizes], rows)}"
    )


def _no_labels(cells: pd.DataFrame) -> str:
    """Tell what centring by unlabelled texts does."""
    rows = []
    for (name, method), mine in cells[cells["n"] == 0].groupby(
        ["data", "method"], sort=False
    ):
        rows.append([name, method, *(shown(mine[metric].tolist()) for metric in METRICS)])
    return f"## Without labels\n\n{table(['data', 'method', *METRICS], rows)}"


def _thresholds(cells: pd.DataFrame) -> str:
    """Compare ways of deciding on the same probabilities."""
    mine = cells[(cells["method"] == OURS) & (cells["n"] > 0)]
    sizes = sorted(mine["n"].unique())
    rows, names = [], list(dict.fromkeys(mine["data"]))
    for name in names:
        for way in ("macro-F1", *WAYS):
            found = [
                interval(mine.loc[(mine["data"] == name) & (mine["n"] == n), way])
                for n in sizes
            ]
            written = [f"{mean:.3f} ± {half:.3f}" for mean, half, _ in found]
            rows.append([name, way.partition(", ")[2] or "argmax", *written])
    header, across = ["data", "thresholds"], [f"n = {n}" for n in sizes]
    gains = plug_in_gains(cells).set_index(["data", "n"])
    differences = [
        [name, *(f"{g.gain:+.4f} ({g.error:.4f})" for g in gains.loc[name].itertuples())]
        for name in names
    ]
    return THRESHOLDS.format(
        ours=OURS,
        ways=table([*header, *across], rows),
        gains=table(["data", *across], differences),
    )


def _data_set(cells: pd.DataFrame, name: str) -> str:
    prompt = PROMPTS[name][CHOSEN[name]]
    words = "; ".join("/".join(forms) for forms in prompt.forms)
    tables = "\n".join(of_metric(cells, metric) for metric in METRICS)
    return (
        f"## {SOURCES[name].title} (`{name}`)\n\n![{name}](accuracy_{name}.png)\n\n"
        f"{len(prompt.forms)} classes. Prompt:\n\n```text\n{prompt.template}\n```\n\n"
        f"Words: {words}.\n\n{tables}"
    )


def _zero_shot(zero: pd.DataFrame) -> str:
    ran = zero[zero["log loss"].notna()]
    rows = [
        [cell["data"], cell["method"], *(f"{cell[metric]:.3f}" for metric in METRICS)]
        for _, cell in ran.iterrows()
    ]
    failed = zero[zero["failed"].notna()].itertuples() if "failed" in zero else []
    notes = "".join(f"\n{c.method} on {c.data}: `{c.failed}`\n" for c in failed)
    return (
        "## Others, without labels\n\nThe same weights (float32 in transformers, "
        "for those packages), the first 200 test rows.\n\n"
        f"{table(['data', 'method', *METRICS], rows)}{notes}"
    )


def _promises(promised: pd.DataFrame) -> str:
    rows = [
        [*cell[:4], f"{cell.violated:.4f}", f"{cell.accepted:.3f}"]
        for cell in promised.itertuples(index=False)
    ]
    return (
        "## RiskAtMost\n\nShare of 2,000 runs whose true risk is above the one asked for "
        "(at most 0.05 is promised), and mean share of rows accepted. The true risk is "
        "known: error rates are simulated, or all test rows of a data set are taken for "
        f"the population.\n\n{table(list(promised.columns), rows)}"
    )
