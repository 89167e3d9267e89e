"""One way to classify, in a process of its own, so that rivals keep their own versions.

    PYTHON benchmarks/_workers.py NAME WEIGHTS THREADS

It reads jobs from standard input, a line of JSON each, and writes what it found: seconds,
CPU seconds, the peak of its memory in MB, and the joint log-probability of each label.
A prompt is ``prefix + " " + tail``, and what follows it is ``" " + label``, or for ours,
with `spellings`, each label as the classifier spells it.
"""

# ruff: noqa: PLC0415 -- each way imports what it needs, which others may not have

from __future__ import annotations

import json
import math
import os
import resource
import sys
import time

N_CTX = 2048


class Ours:
    """A backend of this package, asked as the classifier asks it."""

    def __init__(self, backend):
        from sklearn_logprob import Request, Verbalizer

        self.request, self.backend = Request, backend
        self.verbalizer = Verbalizer()

    def __call__(self, prefix, tails, labels, exact, spellings=False):
        choices = tuple(sorted(f" {label}" for label in labels))
        if spellings:
            spelled = self.verbalizer.spellings(labels)
            choices = tuple(s + form for f in spelled for form in f for s in ("", " "))
        requests = [
            self.request((("prompt", f"{prefix} {tail}"),), choices, top_logprobs=200)
            for tail in tails
        ]
        found = dict(self.backend.answer(requests))
        usages = [answer.usage for answer in found.values()]
        self.evaluated = sum(u.prompt_tokens - u.cached_tokens for u in usages)
        rows = [dict(found[i].choices) for i in range(len(tails))]
        return [[row[f" {label}"] for label in labels] for row in rows]


def ours_llama_cpp(weights, threads):
    """Ours, in the best format for this CPU or another one."""
    from sklearn_logprob import LlamaCppBackend

    return Ours(LlamaCppBackend(weights=weights, n_ctx=N_CTX, n_threads=threads))


def ours_transformers(weights, threads):
    """Ours, on PyTorch."""
    import torch

    from sklearn_logprob import TransformersBackend

    torch.set_num_threads(threads)
    dtype = {"bf16": "bfloat16", "f32": "float32"}[weights]
    return Ours(TransformersBackend(dtype=dtype))


def _llama(weights, threads, **params):
    from llama_cpp import Llama
    from llama_cpp import llama_cpp as low

    defaults = low.llama_model_default_params

    def without_amx():
        found = defaults()
        found.use_extra_bufts = False  # or 4-bit weights crash on CPUs with AMX
        return found

    low.llama_model_default_params = without_amx
    return Llama(
        weights,
        n_ctx=N_CTX,
        n_threads=threads,
        n_threads_batch=threads,
        verbose=False,
        **params,
    )


class Loop:
    """What everybody writes first: reset, evaluate the prompt, look at the labels."""

    def __init__(self, weights, threads):
        import llama_cpp
        import numpy as np

        self.np, self.low = np, llama_cpp
        self.model = _llama(weights, threads, n_batch=512)

    def __call__(self, prefix, tails, labels, exact):
        np, model = self.np, self.model
        firsts = []
        for label in labels:
            [token] = model.tokenize(f" {label}".encode(), add_bos=False)
            firsts.append(token)
        rows = []
        for tail in tails:
            model.reset()
            model.eval(model.tokenize(f"{prefix} {tail}".encode(), add_bos=False))
            pointer = self.low.llama_get_logits_ith(model.ctx, -1)
            logits = np.ctypeslib.as_array(pointer, (model.n_vocab(),)).astype(float)
            logits -= logits.max()
            rows.append((logits - np.log(np.exp(logits).sum()))[firsts].tolist())
        return rows


class Raw:
    """The engine alone: one prompt after the other, every token of it new."""

    def __init__(self, weights, threads):
        self.model = _llama(weights, threads, n_batch=512, flash_attn=True)

    def __call__(self, prefix, tails, labels, exact):
        for tail in tails:
            self.model.reset()
            self.model.eval(self.model.tokenize(tail.encode(), add_bos=False)[:372])
        return []


def _repair_numpy():
    """Give cappr 0.9.6 the name that it imports and numpy 2 moved."""
    import numpy as np

    np.VisibleDeprecationWarning = np.exceptions.VisibleDeprecationWarning


class CapprLlama:
    """cappr on llama-cpp-python, the prefix cached."""

    def __init__(self, weights, threads):
        _repair_numpy()
        from cappr.llama_cpp import classify

        self.classify = classify
        self.model = _llama(weights, threads, n_batch=N_CTX, logits_all=True)

    def __call__(self, prefix, tails, labels, exact):
        ask = (
            self.classify.log_probs_conditional if exact else self.classify.predict_proba
        )
        with self.classify.cache(self.model, prefix):
            found = ask(
                tails, labels, self.model, reset_model=False, show_progress_bar=False
            )
        return _joint(found) if exact else []


def _load_hf(weights, threads, dtype):
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    torch.set_num_threads(threads)
    folder, file = os.path.split(weights)
    tokenizer = AutoTokenizer.from_pretrained(folder, gguf_file=file)
    model = AutoModelForCausalLM.from_pretrained(
        folder, gguf_file=file, torch_dtype=getattr(torch, dtype)
    ).eval()
    model.config.tie_word_embeddings = True
    model.tie_weights()  # or else the last layer is random
    model.config.architectures = [type(model).__name__]  # which cappr asks for
    tokenizer.pad_token = tokenizer.eos_token
    tokenizer.add_bos_token = False  # the model knows none, so neither do the others
    tokenizer._tokenizer.post_processor = None
    return model, tokenizer


class CapprHF:
    """cappr on transformers, the prefix cached."""

    def __init__(self, weights, threads, dtype="float32"):
        _repair_numpy()
        from cappr.huggingface import classify

        self.classify = classify
        self.model = _load_hf(weights, threads, dtype)

    def __call__(self, prefix, tails, labels, exact):
        ask = (
            self.classify.log_probs_conditional if exact else self.classify.predict_proba
        )
        with self.classify.cache(self.model, prefix) as cached:
            found = ask(tails, labels, cached, batch_size=16, show_progress_bar=False)
        return _joint(found) if exact else []


class Skorch:
    """skorch.llm, whose own prompt is set aside."""

    def __init__(self, weights, threads, dtype="float32"):
        self.model, self.tokenizer = _load_hf(weights, threads, dtype)

    def __call__(self, prefix, tails, labels, exact):
        from skorch.llm import ZeroShotClassifier

        classifier = ZeroShotClassifier(
            model=self.model,
            tokenizer=self.tokenizer,
            prompt="{text}{labels}",
            probas_sum_to_1=False,
        ).fit(None, [f" {label}" for label in labels])
        classifier.get_prompt = lambda text: text
        found = classifier.predict_proba([f"{prefix} {tail}" for tail in tails])
        order = [list(classifier.classes_).index(f" {label}") for label in labels]
        return [[math.log(max(p, 1e-300)) for p in row] for row in found[:, order]]


def _joint(found):
    """Sum the log-probabilities of each label's tokens."""
    return [[float(sum(tokens)) for tokens in row] for row in found]


SYSTEMS = {
    "ours, llama-cpp": ours_llama_cpp,
    "ours, transformers": ours_transformers,
    "loop": Loop,
    "raw": Raw,
    "cappr, llama_cpp": CapprLlama,
    "cappr, huggingface": CapprHF,
    "cappr, huggingface, bf16": lambda w, t: CapprHF(w, t, "bfloat16"),
    "skorch": Skorch,
    "skorch, bf16": lambda w, t: Skorch(w, t, "bfloat16"),
}


def main():
    """Answer jobs until there are no more."""
    name, weights, threads = sys.argv[1:]
    answers = os.fdopen(os.dup(1), "w")  # libraries may print what they like
    os.dup2(2, 1)
    system = SYSTEMS[name](weights, int(threads))
    for line in sys.stdin:
        job = json.loads(line)
        start, start_cpu = time.perf_counter(), time.process_time()
        options = {"spellings": True} if job["spellings"] else {}
        scores = system(
            job["prefix"], job["tails"], job["labels"], job["exact"], **options
        )
        found = {
            "seconds": time.perf_counter() - start,
            "cpu": time.process_time() - start_cpu,
            "scores": scores if job["exact"] else [],
            "evaluated": getattr(system, "evaluated", 0),
            "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        }
        print(json.dumps(found), file=answers, flush=True)


if __name__ == "__main__":
    main()
