"""``sklearn-logprob explore``: the operating-point page."""

from __future__ import annotations

from argparse import Namespace

from sklearn_logprob._private_files import check_folder
from sklearn_logprob.cli._models import load, said_usage, show_plan
from sklearn_logprob.cli.evaluate import judged_rows

__all__ = ["run"]


def run(arguments: Namespace) -> None:
    """Ask about the rows, and write the page.

    Parameters
    ----------
    arguments : Namespace
        What `_parser` gives.
    """
    check_folder(arguments.output)
    clf = load(arguments)
    X, codes = judged_rows(clf, arguments)
    if arguments.dry_run:
        show_plan([clf.requests(X)], codes.__len__)
        return
    labels = clf.classes_[codes]
    clf.explore(X, labels, arguments.output, out_of_fold=arguments.out_of_fold)
    print(
        f"{len(codes)} rows, {said_usage(clf.usage_)}\n"
        f"wrote {arguments.output}: open it in a browser"
    )
