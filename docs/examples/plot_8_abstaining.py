"""
Abstaining, and sending the rest to people
==========================================

A classifier that is right four times in five may be right 19 times in 20 about the
reviews that it is sure of. Let it decide these, and people read the rest.
"""

import matplotlib.pyplot as plt
import numpy as np
from recorded import PROMPT, WORDS, RecordedAnswers, load_reviews
from scipy.stats import binomtest

from sklearn_logprob import ChowRule, LogprobClassifier, RiskAtMost

X, y = load_reviews("train")
X_test, y_test = load_reviews("test")
wrong_costs, reading_costs = 1.0, 0.15
clf = LogprobClassifier(
    RecordedAnswers(),
    prompt=PROMPT,
    verbalizer=WORDS,
    reject=ChowRule(reading_costs / wrong_costs),
    random_state=0,
).fit(X, y)

# %%
# Chow's rule: let people read where an error is more probable than reading costs. It
# trusts the probabilities, and needs nothing else.

accepted = clf.accept(X_test)
wrong = clf.predict(X_test) != np.array(y_test)
for who, rows in {"the model": accepted, "people": ~accepted}.items():
    print(f"for {who}: {rows.mean():.0%}, the model wrong in {wrong[rows].mean():.1%}")
print("cost a review (right: 0, wrong: 1, read by people: 0.15)")
for name, left in {"nothing is sent": wrong | True, "Chow's rule": accepted}.items():
    cost = wrong_costs * (wrong & left).mean() + reading_costs * (~left).mean()
    print(f"  {name:<16}{cost:.3f}")

# %%
# ``RiskAtMost`` promises: at most 10 % wrong among those that it decides, except with
# probability 0.1 over the labelled reviews. It looks at labels for that.

careful = LogprobClassifier(
    RecordedAnswers(),
    prompt=PROMPT,
    verbalizer=WORDS,
    reject=RiskAtMost(0.1, delta=0.1),
    random_state=0,
).fit(X, y)
sure = careful.accept(X_test)
low, high = binomtest(int(wrong[sure].sum()), int(sure.sum())).proportion_ci(0.95)
print(f"for the model: {sure.mean():.0%}, wrong in {wrong[sure].mean():.1%}")
print(f"95 % interval of that share: {low:.1%} to {high:.1%}")

# %%
# Every possible line between sure and unsure, on test reviews:

P = clf.predict_proba(X_test).max(axis=1)
order = np.argsort(-P)
n = np.arange(1, len(order) + 1)
risk = np.cumsum(wrong[order]) / n
fig, ax = plt.subplots(figsize=(6.4, 4.2), layout="constrained")
ax.plot(100 * n / len(n), 100 * risk, color="#0072B2", label="surest first")
ax.axhline(100 * wrong.mean(), color="0.5", ls=":", label="in any order")
for rows, mark, name in (
    (accepted, "o", "ChowRule(0.15)"),
    (sure, "s", "RiskAtMost(0.1)"),
):
    place = 100 * rows.mean(), 100 * wrong[rows].mean()
    ax.plot(*place, mark, ms=9, color="#D55E00", mec="white", label=name)
ax.set(xlabel="decided by the model (% of the reviews)", ylabel="wrong among these (%)")
ax.set(xlim=(0, 101), ylim=(0, None), title=f"{len(n)} test reviews")
ax.legend()

# %%
# **What one sees.** The curve rises: errors gather where the model is unsure, and that
# is what makes abstaining worth something. (At its left end it counts a handful of
# reviews.) Chow's rule goes by the cost of reading, and cuts the cost of these reviews.
# ``RiskAtMost`` decides more of them here, since it was allowed more errors; whether
# its promise holds, the interval leaves open. It is exact for probabilities that no
# threshold or calibrator has seen, and about right for those of ``fit``.
