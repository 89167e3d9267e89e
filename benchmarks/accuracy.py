"""What a small model's answers are worth with few labels, against what else there is.

    python benchmarks/accuracy.py              # asks, sweeps, writes results/accuracy.md
    python benchmarks/accuracy.py --data trec --seeds 3
    python benchmarks/accuracy.py --prompts    # how the prompts were chosen
    python benchmarks/accuracy.py --report     # writes again from results/accuracy.csv

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

TOLERANCE = 1e-3  # of a probability: tokens of the test rows alone change nothing
RESULTS = Path(__file__).parent / "results"


def main() -> None:
    """Ask, sweep, report."""
    arguments = parsed()
    names, cache = arguments.data, arguments.cache
    if arguments.prompts:
        compare_prompts(names, cache)
        return
    RESULTS.mkdir(exist_ok=True)
    tables = {
        name: RESULTS / f"{name}.csv" for name in ("accuracy", "zero_shot", "promises")
    }
    if not arguments.report:
        compute(arguments, tables)
    write_report(*(pd.read_csv(path) for path in tables.values()), RESULTS)


def compute(arguments: argparse.Namespace, tables: dict[str, Path]) -> None:
    """Write the cells of all three comparisons."""
    # scikit-learn and the engines load where they are needed: --report is quick
    from _risk import promises  # noqa: PLC0415
    from _sweep import end_to_end, load, sweep  # noqa: PLC0415
    from _zero_shot import zero_shot  # noqa: PLC0415

    tasks = []
    for name in arguments.data:
        print(f"{SOURCES[name].title}: answers and embeddings", flush=True)
        tasks.append(load(name, arguments.cache, verbose=True))
    for task in tasks:
        apart = end_to_end(task, arguments.cache)
        print(f"{task.name}: LogprobClassifier differs by at most {apart:.1e}")
        if apart > TOLERANCE:
            raise SystemExit("The sweep does not do what the classifier does.")
    cells = sweep(tasks, arguments.seeds, arguments.jobs)
    cells.round(6).to_csv(tables["accuracy"], index=False)
    promises(tasks).to_csv(tables["promises"], index=False)
    zero_shot(tasks).round(6).to_csv(tables["zero_shot"], index=False)


def parsed() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", nargs="+", choices=SOURCES, default=list(SOURCES))
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--jobs", type=int, default=-1, help="processes of the sweep")
    home = user_cache_path("sklearn-logprob") / "benchmarks"
    parser.add_argument("--cache", type=Path, default=home)
    parser.add_argument("--prompts", action="store_true", help="compare prompts only")
    parser.add_argument("--report", action="store_true", help="write from the tables")
    return parser.parse_args()


if __name__ == "__main__":
    main()
