"""``sklearn-logprob stability``: the same question in several wordings."""

from __future__ import annotations

from argparse import Namespace

from sklearn_logprob._private_files import check_folder
from sklearn_logprob._wordings import make_wordings
from sklearn_logprob.backends import make_backend
from sklearn_logprob.cli._models import (
    cache_of,
    limit_cost,
    parse_pairs,
    show_plan,
    verbosity,
)
from sklearn_logprob.cli._rows import labelled
from sklearn_logprob.cli._tables import Table
from sklearn_logprob.cli._writing import writing
from sklearn_logprob.stability import sensitivity, stability, summarize

__all__ = ["run"]


def run(arguments: Namespace) -> None:
    """Ask in every wording, and print how much differs.

    Parameters
    ----------
    arguments : Namespace
        What `_parser` gives.
    """
    target = None
    if arguments.output is not None:
        target = Table.of(arguments.output, arguments.format)
        check_folder(target.path)
    models = {name: make_backend(name) for name in arguments.backend or ["llama-cpp"]}
    for backend in models.values():
        limit_cost(backend, arguments.max_cost)
    table = Table.of(arguments.input, arguments.format)
    text = arguments.text or ["text"]
    X, y = labelled(table, text, arguments, frame=len(text) > 1)
    asked = {
        "styles": arguments.style,
        "label_styles": arguments.label_style,
        "verbalizer": parse_pairs(arguments.word, "--word") or None,
        "cache": cache_of(arguments),
    }
    if arguments.dry_run:
        wordings = make_wordings(models, X, y, **asked).classifiers.values()
        show_plan((clf.requests(X) for clf in wordings), y.__len__)
        return
    shown = {"verbose": verbosity(arguments), "random_state": arguments.seed}
    frame = stability(models, X, y, **asked, **shown)
    print(f"{len(y)} rows in {len(frame) // len(y)} wordings\n")
    print(summarize(frame).round(3).to_string())
    print(f"\n{sensitivity(frame).round(3).to_string()}")
    if target is not None:
        with writing(target) as write:
            write(frame.to_dict("records"))
        print(f"\nwrote {target}")
