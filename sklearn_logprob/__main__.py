"""``python -m sklearn_logprob``."""

from sklearn_logprob.cli import main

__all__: list[str] = []

if __name__ == "__main__":
    main()
