"""How fast the embedded model is classified with, next to what else one could take.

    python -m venv rivals
    rivals/bin/pip install torch transformers==4.46.3 skorch==1.4.0 gguf accelerate \
        sentencepiece protobuf tqdm llama-cpp-python==0.3.36
    rivals/bin/pip install --no-deps cappr==0.9.6
    python benchmarks/speed.py --rivals rivals/bin/python    # --quick to try it

Every system is a process of its own, a thread for each core; they take turns. What they
compute is compared first, in the same format of the weights: no time is printed where
scores differ by more than its roundings explain. A ratio is the median of the ratios
within a round. From a machine that is busy at the start, nothing is written to
benchmarks/results/.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from statistics import median
from typing import NamedTuple

import matplotlib.pyplot as plt
from _banking77 import fetch
from _machine import describe, is_busy
from _race import Entrant, Work, Worker, largest_difference, race, ratio

from sklearn_logprob.backends._llama_weights import find_gguf, find_weights
from sklearn_logprob.datasets import fetch_rotten_tomatoes
from sklearn_logprob.demo import TEMPLATES

RESULTS = Path(__file__).parent / "results"
MOST_NATS = {"as-is": 1.0, "bf16": 0.5, "f32": 0.05}
"""How far sums over a label's tokens may be apart, of the same weights: all round."""

FOUR = ["card", "cash", "transfer", "account"]  # a token each
TEN = [
    "lost or stolen card", "cash withdrawal charge", "exchange rate", "top up failed",
    "card payment not recognised", "age limit", "direct debit payment", "country support",
    "verify my identity", "transfer into account",
]  # fmt: skip
ASKED = (
    "Customers of a bank ask about many topics. Name the topic of each query.\n\n"
    "Query: Why was I charged for a withdrawal abroad?\nTopic: {0}\n\nQuery:"
)
INTENTS = "Which of these is the query about?\n{0}\n\nQuery:"
SLOW = ("cappr, llama_cpp", "skorch")
"""Rivals that take text by text, which get a few of the texts."""
OURS, OURS_HF = "ours, llama-cpp, f32", "ours, transformers, bf16"


class Sizes(NamedTuple):
    """How much is done."""

    rows: int
    texts: int
    few: int
    rounds: int


class Report:
    """Lines that are printed at once and kept."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def __call__(self, line: str = "") -> None:
        """Print a line, and keep it."""
        print(line, flush=True)
        self.lines.append(line)

    def table(self, *columns: str) -> None:
        """Begin a table."""
        self(f"| {' | '.join(columns)} |")
        self(f"|{'---|' * len(columns)}")


Workers = dict[str, Worker]


def main() -> None:
    """Measure everything, and write it down."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rivals", help="a Python that has cappr and skorch")
    parser.add_argument("--quick", action="store_true", help="one small round")
    arguments = parser.parse_args()
    sizes = Sizes(24, 12, 6, 1) if arguments.quick else Sizes(240, 480, 24, 3)
    busy = is_busy()
    report = Report()
    report("# Speed of local scoring")
    report()
    for line in describe("llama-cpp-python", "transformers", "torch"):
        report(f"- {line}")
    if busy:
        report("- BUSY: do not quote these numbers")
    shipped = str(find_gguf(None))
    bf16, _ = find_weights(None, "bf16")
    best, _ = find_weights(None, "f32")
    workers: Workers = {
        OURS: Worker(Entrant("ours, llama-cpp", "f32")),
        OURS_HF: Worker(Entrant("ours, transformers", "bf16")),
        "loop": Worker(Entrant("loop", shipped)),
        "raw": Worker(Entrant("raw", str(best))),
    }
    if arguments.rivals:
        workers |= {
            f"{system.removesuffix(', bf16')}, {weights}": Worker(
                Entrant(system, path, arguments.rivals)
            )
            for system, weights, path in (
                ("cappr, llama_cpp", "as-is", shipped),
                ("cappr, llama_cpp", "bf16", str(bf16)),
                ("cappr, huggingface", "f32", shipped),
                ("cappr, huggingface, bf16", "bf16", shipped),
                ("skorch", "f32", shipped),
                ("skorch, bf16", "bf16", shipped),
            )
        }
    rows_a_second(report, workers, sizes)
    bars = beside_rivals(report, workers, sizes)
    many_labels(report, workers, sizes)
    prefill_share(report, workers, sizes)
    peak = workers[OURS].peak - best.stat().st_size / 2**20
    report()
    report("## Memory")
    report()
    report(
        f"Peak of the process above the weights, Python and scikit-learn included: "
        f"{peak:.0f} MB (at most 400: {told(peak <= 400)})"
    )
    curves = costs_of_a_row(workers, sizes)
    for worker in workers.values():
        worker.close()
    if busy:
        print("The machine was busy: nothing is written.")
        return
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "speed.md").write_text("\n".join(report.lines) + "\n")
    draw(bars, curves)


def rows_a_second(report: Report, workers: Workers, sizes: Sizes) -> None:
    """Two demonstrations, film reviews: everybody's first loop, and ours."""
    prefix = TEMPLATES["two, set apart"].removesuffix(" {text}\nSentiment:")
    texts = fetch_rotten_tomatoes(subset="test").data[: sizes.rows].tolist()
    tails = [f"{text}\nSentiment:" for text in texts]
    work = Work(prefix, tails, ["negative", "positive"])
    names = ["loop", OURS, OURS_HF]
    exact = {name: workers[name].run(work.first(4), exact=True) for name in names}
    found = race(workers, dict.fromkeys(names, work), sizes.rounds)
    report()
    report("## Film reviews behind two demonstrations")
    report()
    report.table("", "rows/s", "times the loop", "target", "nats from the loop")
    for name, target in (("loop", 1), (OURS, 8), (OURS_HF, 10)):
        times = ratio(found["loop"], found[name])
        apart = largest_difference(exact[name]["scores"], exact["loop"]["scores"])
        compare(name, apart, "as-is")
        report(
            f"| {name} | {1e3 / median(found[name]):.1f} | {times:.2f} | "
            f"{target} {told(times >= target)} | {apart:.3f} |"
        )


def beside_rivals(
    report: Report, workers: Workers, sizes: Sizes
) -> dict[str, dict[str, float]]:
    """Four labels of one token and ten of several, by ours and by rivals."""
    texts, _ = fetch()
    tails = [f"{text}\nTopic:" for text in texts[: sizes.texts]]
    bars = {}
    for title, labels, targets in (
        ("Four labels of one token", FOUR, (6, 2)),
        ("Ten labels of several tokens", TEN, (10, 3)),
    ):
        work = Work(ASKED.format(labels[0]), tails, labels)
        names = [
            OURS,
            OURS_HF,
            *(n for n in workers if n.startswith(("cappr", "skorch"))),
        ]
        exact = {weights: exact_scores(work.first(3), weights) for weights in MOST_NATS}
        report()
        report(f"## {title}")
        report()
        apart = {}
        for name in names:
            found = workers[name].run(work.first(3), exact=True)["scores"]
            weights = next(w for w in MOST_NATS if name.endswith(w))
            apart[name] = largest_difference(found, exact[weights])
            compare(name, apart[name], weights)
        some = work.first(sizes.few)
        works = {name: some if name.startswith(SLOW) else work for name in names}
        times = race(workers, works, sizes.rounds)
        found = {name: median(values) for name, values in times.items()}
        ours = min((OURS, OURS_HF), key=found.__getitem__)
        report.table("", "ms/text", "times our best", "nats from ours, same format")
        for name in names:
            report(
                f"| {name} | {found[name]:.1f} | "
                f"{ratio(times[name], times[ours]):.2f} | {apart[name]:.3f} |"
            )
        theirs = [name for name in names if name not in (OURS, OURS_HF)]
        for said, target, mine, among in (
            ("Each at its best", targets[0], ours, theirs),
            (
                "As rivals come",
                targets[0],
                ours,
                [n for n in theirs if n.endswith(("as-is", "f32"))],
            ),
            ("In bf16", targets[1], OURS_HF, [n for n in theirs if n.endswith("bf16")]),
            ("In f32", targets[1], OURS, [n for n in theirs if n.endswith("f32")]),
        ):
            if among:
                best = min(among, key=found.__getitem__)
                times_ours = ratio(times[best], times[mine])
                report()
                report(
                    f"{said}: {best} takes {times_ours:.2f} times as long as {mine} "
                    f"(target {target}: {told(times_ours >= target)})."
                )
        bars[title] = found
    return bars


def many_labels(report: Report, workers: Workers, sizes: Sizes) -> None:
    """77 intents, scored as they are written, and by numbers; ten beside them."""
    texts, intents = fetch()
    tails = [f"{text}\nTopic:" for text in texts[: sizes.few]]
    codes = [str(number) for number in range(1, len(intents) + 1)]
    listed = "\n".join(
        f"{code}. {name}" for code, name in zip(codes, intents, strict=True)
    )
    works = {
        "ten labels, not listed": Work(ASKED.format(TEN[0]), tails, TEN),
        "77 intents, not listed": Work(ASKED.format(intents[0]), tails, intents),
        "77 intents, not listed, in four spellings": Work(
            ASKED.format(intents[0]), tails, intents, spellings=True
        ),
        "77 intents, listed": Work(INTENTS.format("\n".join(intents)), tails, intents),
        "77 numbers, listed": Work(INTENTS.format(listed), tails, codes),
    }
    found = race(dict.fromkeys(works, workers[OURS]), works, sizes.rounds)
    report()
    report(f"## Many labels: Banking77, {OURS}")
    report()
    report.table("", "ms/text", "times ten labels")
    for name, times in found.items():
        report(
            f"| {name} | {median(times):.1f} | "
            f"{ratio(times, found['ten labels, not listed']):.2f} |"
        )


def prefill_share(report: Report, workers: Workers, sizes: Sizes) -> None:
    """Measure how much of the rate of bare prefill reaches what was asked for."""
    texts = fetch_rotten_tomatoes(subset="test").data[: sizes.rows].tolist()
    prefix = TEMPLATES["two, set apart"].removesuffix(" {text}\nSentiment:")
    tails = [f"{text}\nSentiment:" for text in texts]
    ours = Work(prefix, tails, ["negative", "positive"])
    raw = Work("", [" ".join(texts)] * 4, [])  # 372 tokens of it are read
    names = {OURS: ours, "raw": raw}
    found = race(workers, names, sizes.rounds)
    evaluated = workers[OURS].run(ours)["evaluated"]
    rates = {
        OURS: [evaluated / len(tails) / ms * 1e3 for ms in found[OURS]],
        "raw": [372 / ms * 1e3 for ms in found["raw"]],
    }
    share = ratio(rates[OURS], rates["raw"])
    report()
    report("## Share of the raw prefill rate")
    report()
    report(
        f"Raw, one prompt of 372 tokens: {median(rates['raw']):.0f} tokens/s. Ours, "
        f"{evaluated / len(tails):.1f} new tokens a row: {median(rates[OURS]):.0f} "
        f"tokens/s. Share: {share:.2f} (target 0.9: {told(share >= 0.9)})"
    )


def costs_of_a_row(
    workers: Workers, sizes: Sizes
) -> dict[str, tuple[list[int], list[float]]]:
    """Milliseconds a row as rows grow, and as labels do."""
    texts, intents = fetch()
    tails = [f"{text}\nTopic:" for text in texts]
    rows = [4**power for power in range(5 if sizes.rounds == 1 else 7)]
    tails *= 1 + rows[-1] // len(tails)
    worker = {"": workers[OURS]}

    def cost(n_rows: int, labels: list[str]) -> float:
        asked = [f"{i}. {tail}" for i, tail in enumerate(tails[:n_rows])]
        work = {"": Work(ASKED.format(labels[0]), asked, labels)}
        return median(race(worker, work, sizes.rounds if n_rows < 1_000 else 1)[""])

    labels = [2, 4, 10, 30, 77]
    return {
        "rows": (rows, [cost(n, FOUR) for n in rows]),
        "labels": (labels, [cost(16, intents[:n]) for n in labels]),
    }


def exact_scores(work: Work, weights: str) -> list[list[float]]:
    """Give our scores in a format, which those of others are compared with."""
    worker = Worker(Entrant("ours, llama-cpp", weights))
    found = worker.run(work, exact=True)
    worker.close()
    return list(found["scores"])


def compare(name: str, apart: float, weights: str) -> None:
    """End here where two do not compute the same."""
    if apart > MOST_NATS[weights]:
        raise SystemExit(f"{name} computes something else ({apart:.2f} nats): no times.")


def told(reached: bool) -> str:
    """Say whether a target is reached."""
    return "reached" if reached else "MISSED"


def draw(
    raced: dict[str, dict[str, float]],
    curves: dict[str, tuple[list[int], list[float]]],
) -> None:
    """Rivals as bars; the cost of a row as lines."""
    figure, axes = plt.subplots(2, 2, figsize=(11, 7), layout="constrained")
    for axis, (title, times) in zip(axes[0], raced.items(), strict=True):
        names = list(times)[::-1]
        colours = ["C0" if name.startswith("ours") else "C7" for name in names]
        bars = axis.barh(names, [times[name] for name in names], color=colours)
        axis.bar_label(bars, fmt="%.0f", padding=3)
        axis.set(xscale="log", xlabel="ms per text (logarithmic)", title=title)
        axis.set_xlim(1, 3 * max(times.values()))
    for axis, (name, (numbers, costs)) in zip(axes[1], curves.items(), strict=True):
        axis.plot(numbers, costs, "o-")
        axis.set(xscale="log", xlabel=name, ylabel="ms per row", ylim=(0, None))
        axis.set_xticks(numbers, labels=map(str, numbers), minor=False)
        axis.set_xticks([], minor=True)
        axis.set_title(f"{OURS}: cost of a row")
    figure.savefig(RESULTS / "speed.png", dpi=120)


if __name__ == "__main__":
    main()
