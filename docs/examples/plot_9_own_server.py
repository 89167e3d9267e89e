"""
Bringing your own server
========================

Any server that speaks OpenAI's chat format and returns ``top_logprobs`` will do:
llama-server, vLLM, Ollama, a gateway of your company. Here it is one of fifty lines,
``small_server.py``, which answers over real HTTP on this machine.
"""

import matplotlib.pyplot as plt
from recorded import WORDS, load_reviews
from small_server import serve

from sklearn_logprob import LogprobClassifier, OpenAIBackend, PromptTemplate
from sklearn_logprob.plots import OtherTokensDisplay

X, y = load_reviews("train", 60)
X_test, y_test = load_reviews("test", 60)
prompt = PromptTemplate(
    "{text}\n\nIs this review {labels}?",
    system="Answer with one word: {labels}.",
    demonstrations=[
        ("A dull, lifeless film that wastes a good cast.", "negative"),
        ("Funny, warm and beautifully acted throughout.", "positive"),
    ],
)

# %%
# ``base_url`` usually ends in ``/v1``. The key is read from the environment variable
# that ``api_key_env`` names, if it is set; a server of your own need not have one. Ask
# first what would be sent:

with serve() as base_url:
    backend = OpenAIBackend("small", base_url=base_url, api_key_env="MY_SERVERS_KEY")
    clf = LogprobClassifier(backend, prompt=prompt, verbalizer=WORDS, random_state=0)
    planned = clf.requests(X, y)
    for role, content in planned[0].messages:
        print(f"{role:>9}: {content!r}")
    clf.fit(X, y)
    print(clf.usage_.requests, "requests for", len(X), "reviews")
    print(f"right about {clf.score(X_test, y_test):.0%} of {len(X_test)} others")

# %%
# The server is gone now. The answers are in the cache, so the same work is done without
# it:

again = LogprobClassifier(backend, prompt=prompt, verbalizer=WORDS, random_state=0)
again.fit(X, y)
print(again.usage_.requests, "requests,", again.usage_.cache_hits, "from the cache")

# %%
# Three things tell whether server, prompt and labels suit each other: how much of the
# model's probability lands on a label, how often a label was not among the tokens
# shown, and what was said instead.

print(f"label mass {clf.label_mass_:.2f}, not shown {clf.censored_share_:.0%}")
fig, ax = plt.subplots(figsize=(6.4, 3.4), layout="constrained")
OtherTokensDisplay.from_estimator(clf, X_test, ax=ax)

# %%
# **What one sees.** A chat endpoint shows its likeliest tokens only. Here nearly all of
# the probability lies on labels, and that is all that is needed; the bars of other
# words would say what a better prompt, or another word for a class, could gain. That so
# few decisions are right is the model's doing: asked as in a chat, one this small knows
# little.
