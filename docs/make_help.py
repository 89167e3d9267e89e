"""Write the ``--help`` of every command into docs/command_line.md; --check compares."""

from __future__ import annotations

import argparse
import os
import re
import sys
from pathlib import Path

from sklearn_logprob.cli._parser import make_parser

PAGE = Path(__file__).with_name("command_line.md")
HELP = re.compile(
    r"(?<=```text\n)\$ (sklearn-logprob[^\n]*) --help\n.*?(?=^```$)", re.M | re.S
)


def helps() -> dict[str, str]:
    """Give the help of the program and of each command, 80 characters wide."""
    os.environ["COLUMNS"] = "80"
    parser = make_parser()
    [commands] = [
        action
        for action in parser._actions
        if isinstance(action, argparse._SubParsersAction)
    ]
    return {
        each.prog: each.format_help() for each in [parser, *commands.choices.values()]
    }


def written(page: str) -> str:
    found = helps()
    return HELP.sub(lambda m: f"$ {m[1]} --help\n{found[m[1]]}", page)


if __name__ == "__main__":
    page = PAGE.read_text(encoding="utf-8")
    if "--check" not in sys.argv:
        PAGE.write_text(written(page), encoding="utf-8")
    # versions of Python break the lines of a usage differently
    elif written(page).split() != page.split():
        sys.exit("docs/command_line.md is stale: run python docs/make_help.py")
    elif set(HELP.findall(page)) != set(helps()):
        sys.exit("docs/command_line.md lacks the help of a command")
