"""
How stable are the scores?
==========================

The published notebook about log-probability stability asks the same of the same texts
in many wordings. So does this: nine prompts, and three ways to write the labels.
"""

import matplotlib.pyplot as plt
from recorded import RecordedAnswers, load_reviews

from sklearn_logprob.plots import StabilityDisplay
from sklearn_logprob.stability import rank_agreement, sensitivity, stability, summarize

X, y = load_reviews("test", 40)
words = {"fresh": "Positive", "rotten": "Negative"}
frame = stability({"SmolLM2": RecordedAnswers()}, X, y, verbalizer=words)
print(frame.shape)

# %%
# The log score of the true class, label words in lower case. It is in nats: one nat
# less means a probability 2.7 times smaller.

lower = frame[frame["label_style"] == "lower"]
display = StabilityDisplay.from_predictions(lower, by="style")
display.figure_.set_size_inches(6.4, 7)

# %%
# Each wording before and after calibration, which is out of fold here:

table = summarize(frame).droplevel("model")[["log_loss", "calibrated_log_loss"]]
fig, ax = plt.subplots(figsize=(5.5, 5), layout="constrained")
colors = {"lower": "#0072B2", "given": "#D55E00", "verbose": "#009E73"}
for (style, color), mark in zip(colors.items(), "os^", strict=True):
    rows = table.xs(style, level="label_style")
    x, y = rows["log_loss"], rows["calibrated_log_loss"]
    ax.plot(x, y, mark, color=color, alpha=0.8, label=style)
ends = [0.5, 1.6]
ax.plot(ends, ends, color="0.6", ls="--", label="no difference")
ax.set(xlabel="log loss as it comes (nats)", ylabel="log loss after calibration (nats)")
ax.legend(title="label words")

# %%
# And how much the wording matters, in numbers:

print(sensitivity(frame).T.round(2).to_string())
agreement = rank_agreement(lower, by=["style"]).to_numpy()
print(f"called positive as it comes: {(frame['prediction'] == 'fresh').mean():.0%}")
print("rank agreement of two prompts: from", agreement.min().round(2), "up")

# %%
# **What one sees.** The same texts get scores that differ by many nats from one wording
# to the next: a fixed cut on a raw score means nothing in another prompt. Points below
# the dashed line are wordings that calibration improved; with forty labels some get
# worse. The range of log losses shrinks, but the rate of flips grows: as it comes the
# model calls most texts positive in any wording, and who always says the same never
# changes his mind. What calibration cannot repair is the order of the texts, on which
# prompts agree only in part. That is what a search over prompts is for.
