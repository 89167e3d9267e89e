"""What a small model's answers are worth with few labels, against what else there is.

    python benchmarks/accuracy.py              # asks, sweeps, writes results/accuracy.md
    python benchmarks/accuracy.py --data trec --seeds 3
    python benchmarks/accuracy.py --prompts    # how the prompts were chosen
    python benchmarks/accuracy.py --parts      # writes again from the tables

Answers, embeddings and data are kept in the folder --cache, so that a second run asks
nothing. README.md says what is compared.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import pandas as pd
from _choosing import compare_prompts
from _datasets import SOURCES
from _report import write_report
from platformdirs import user_cache_path

TOLERANCE = 1e-6  # of a probability
PARTS = {
    "sweep": "accuracy.csv",
    "zero-shot": "zero_shot.csv",
    "promises": "promises.csv",
}
RESULTS = Path(__file__).parent / "results"


def main() -> None:
    """Ask, sweep, report."""
    arguments = parsed()
    names, cache = arguments.data, arguments.cache
    if arguments.prompts:
        compare_prompts(names, cache)
        return
    RESULTS.mkdir(exist_ok=True)
    tables = {part: RESULTS / file for part, file in PARTS.items()}
    compute(arguments, tables)
    write_report(
        *(pd.read_csv(path) if path.exists() else None for path in tables.values()),
        RESULTS,
    )


def compute(arguments: argparse.Namespace, tables: dict[str, Path]) -> None:
    """Write the cells of all three comparisons, a data set at a time."""
    # scikit-learn and the engines load where they are needed: --report is quick
    from _risk import promises  # noqa: PLC0415
    from _sweep import end_to_end, load, sweep  # noqa: PLC0415
    from _zero_shot import zero_shot  # noqa: PLC0415

    for name in arguments.data if arguments.parts else []:
        print(f"{SOURCES[name].title}: answers and embeddings", flush=True)
        task = load(name, arguments.cache, verbose=True)
        if "sweep" in arguments.parts:
            apart = end_to_end(task, arguments.cache)
            print(f"  LogprobClassifier differs by at most {apart:.1e}", flush=True)
            if apart > TOLERANCE:
                raise SystemExit("The sweep does not do what the classifier does.")
            keep(sweep(task, arguments.seeds, arguments.jobs), tables["sweep"], name)
        if "promises" in arguments.parts:
            keep(promises(task), tables["promises"], name)
        if "zero-shot" in arguments.parts:
            keep(zero_shot(task, arguments.cache), tables["zero-shot"], name)
    if "promises" in arguments.parts:
        keep(promises(None), tables["promises"], "simulated")


def keep(cells: pd.DataFrame, path: Path, name: str) -> None:
    """Replace the rows of a data set in a table."""
    old = [pd.read_csv(path).query("data != @name")] if path.exists() else []
    pd.concat([*old, cells.round(6)]).to_csv(path, index=False)


def parsed() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", nargs="+", choices=SOURCES, default=list(SOURCES))
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--jobs", type=int, default=-1, help="processes of the sweep")
    home = user_cache_path("sklearn-logprob") / "benchmarks"
    parser.add_argument("--cache", type=Path, default=home)
    parser.add_argument("--prompts", action="store_true", help="compare prompts only")
    parts = {"nargs": "*", "choices": PARTS, "default": list(PARTS)}
    parser.add_argument("--parts", **parts, help="what to compute before the report")
    return parser.parse_args()


if __name__ == "__main__":
    main()
