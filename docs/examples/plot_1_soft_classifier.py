"""
A soft classifier and its ROC curve
===================================

A *hard* classifier takes the label that a language model says. A *soft* one reads how
probable the model found each label, from the same single call, and leaves the decision
to you.
"""

import matplotlib.pyplot as plt
from recorded import PROMPT, WORDS, RecordedAnswers, load_reviews
from sklearn.metrics import RocCurveDisplay

from sklearn_logprob import LogprobClassifier

X, y = load_reviews("train")
X_test, y_test = load_reviews("test")
print(len(X), "labelled reviews,", len(X_test), "others to judge on")
print(PROMPT.format(text=X_test[0]))

# %%
# The hard classifier
# -------------------
# Without a calibrator the most probable label wins: that is what the model would say.

hard = LogprobClassifier(
    RecordedAnswers(), prompt=PROMPT, verbalizer=WORDS, calibrator=None, pos_label="fresh"
).fit(X, y)
said = hard.predict(X_test)
print("says 'positive' of", f"{(said == 'fresh').mean():.0%} of the reviews;")
print("fresh are", f"{y_test.count('fresh') / len(y_test):.0%} of them;")
print("is right about", f"{hard.score(X_test, y_test):.1%} of them")

# %%
# The soft classifier
# -------------------
# The same answers, calibrated on the labelled reviews. Nothing is asked again. Here only
# the label words are read; by default other tokens count too, as far as that helps.

soft = LogprobClassifier(
    RecordedAnswers(),
    prompt=PROMPT,
    verbalizer=WORDS,
    readout="labels",
    pos_label="fresh",
).fit(X, y)
for text, p in zip(X_test[:4], soft.predict_proba(X_test)[:4, 0], strict=True):
    print(f"P(fresh) = {p:.2f}  {text[:70]}")
print("is right about", f"{soft.score(X_test, y_test):.1%}")

# %%
# Every threshold on P(fresh) is a point of the ROC curve: how many of the fresh reviews
# are found, and how many rotten ones are taken for fresh. Hard decisions are one point
# each.

fig, ax = plt.subplots(figsize=(5.5, 5), layout="constrained")
RocCurveDisplay.from_estimator(
    soft, X_test, y_test, ax=ax, pos_label="fresh", name="soft", plot_chance_level=True
)
for clf, mark, name in ((hard, "s", "what the model says"), (soft, "o", "calibrated")):
    fresh = clf.predict(X_test) == "fresh"
    truth = [label == "fresh" for label in y_test]
    found = sum(fresh & truth) / sum(truth)
    false = sum(fresh & ~(fresh & truth)) / (len(truth) - sum(truth))
    ax.plot(false, found, mark, ms=9, color="#D55E00", mec="white", label=name)
ax.set(
    title=f"{len(y_test)} test reviews", xlabel="share of rotten reviews taken for fresh"
)
ax.set_ylabel("share of fresh reviews found")
ax.legend(loc="lower right")

# %%
# **What one sees.** The model orders the reviews well above chance. What it *says* is
# one point of that order, far to the right: it says "positive" too often. Calibration
# moves the point along the same curve; it cannot lift the curve. Which point is best is
# a question to you, and the next examples answer it.
