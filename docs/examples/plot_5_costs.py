"""
Thresholds and costs
====================

Where errors have prices, the threshold follows from them, and no metric needs to be
chosen. Here a rotten film that is recommended costs four times as much as a fresh one
that is missed.
"""

import matplotlib.pyplot as plt
import numpy as np
from recorded import PROMPT, WORDS, RecordedAnswers, load_reviews

from sklearn_logprob import LeastCost, LogprobClassifier, threshold_curve

X, y = load_reviews("train")
X_test, y_test = load_reviews("test")
costs = {("rotten", "fresh"): 4.0, ("fresh", "rotten"): 1.0}  # (true, decided)


def fitted(calibrator, threshold):
    return LogprobClassifier(
        RecordedAnswers(),
        prompt=PROMPT,
        verbalizer=WORDS,
        calibrator=calibrator,
        threshold=threshold,
        pos_label="fresh",
        random_state=0,
    ).fit(X, y)


def mean_cost(clf):
    return np.mean([costs.get(pair, 0.0) for pair in zip(y_test, clf.predict(X_test))])


ways = {
    "what the model says": fitted(None, None),
    "calibrated, most probable": fitted("auto", None),
    "best F1": fitted("auto", "f1"),
    "least cost, not calibrated": fitted(None, LeastCost(costs)),
    "least cost": fitted("auto", LeastCost(costs)),
}
for name, clf in ways.items():
    print(f"{name:<28}{mean_cost(clf):.3f} a review")

# %%
# ``LeastCost`` learns nothing: its threshold is c_FP / (c_FP + c_FN), whatever the
# data. It is right if the probabilities are. The curve shows what each threshold costs
# on test reviews.

least = ways["least cost"]
print("threshold", least.threshold_)
fig, ax = plt.subplots(figsize=(6.4, 4.2), layout="constrained")
curves = {"as it comes": ("#D55E00", "--"), "calibrated": ("#0072B2", "-")}
for clf, (name, (color, line)) in zip(
    (ways["what the model says"], least), curves.items(), strict=True
):
    p = clf.predict_proba(X_test)[:, clf.classes_.tolist().index("fresh")]
    curve = threshold_curve(y_test, p, pos_label="fresh", cost_fp=4, cost_fn=1)[:-1]
    ax.step(curve["threshold"], curve["cost"], line, where="pre", color=color, label=name)
ax.axvline(least.threshold_, color="black", ls=":", label="4 / (4 + 1)")
ax.set(
    xlabel="threshold on P(fresh)", ylabel="cost a review", xlim=(0, 1), ylim=(0, None)
)
ax.legend()

# %%
# **What one sees.** The calibrated curve is flat and low around the threshold that the
# costs name. Of probabilities as they come, the same number cuts at another place of
# the same order, and costs more. F1 knows nothing of these prices: the threshold that
# is best for it accepts far too many rotten films.
