"""
Calibrators compared
====================

Which map from the model's scores to probabilities, and with how many labels? The
answers are there, so comparing costs no request.
"""

import matplotlib.pyplot as plt
import numpy as np
from recorded import PROMPT, WORDS, RecordedAnswers, load_reviews
from sklearn.calibration import CalibrationDisplay
from sklearn.metrics import log_loss

from sklearn_logprob import LogprobClassifier, calibrated_proba, make_calibrator

X, y = load_reviews("train")
X_test, y_test = load_reviews("test")
clf = LogprobClassifier(RecordedAnswers(), prompt=PROMPT, verbalizer=WORDS).fit(X, y)

# %%
# ``label_scores`` gives the log scores before any calibration, and a calibrator is a
# classifier whose features these are. So the comparison is ordinary numpy.

S, S_test = clf.label_scores(X), clf.label_scores(X_test)
codes, codes_test = np.array(y) == "rotten", np.array(y_test) == "rotten"
names = ["auto", "temperature", "sigmoid", "beta", "isotonic"]
sizes = [8, 16, 32, 64, 128, 256]


def losses_of(name, size):
    """Give test log losses of a calibrator that was fitted on few rows."""
    for seed in range(20):
        rows = np.random.default_rng(seed).permutation(len(S))[:size]
        if len(set(codes[rows])) == 2:
            fitted = make_calibrator(name).fit(S[rows], codes[rows].astype(int))
            yield log_loss(codes_test, calibrated_proba(fitted, S_test)[:, 1])


losses = {name: [[*losses_of(name, n)] for n in sizes] for name in names}
raw = log_loss(codes_test, calibrated_proba(make_calibrator(None).fit(S, codes), S_test))

fig, ax = plt.subplots(figsize=(6.4, 4.4), layout="constrained")
colors = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00"]
for name, color, mark in zip(names, colors, "os^Dv", strict=True):
    means = [np.mean(each) for each in losses[name]]
    ax.plot(sizes, means, mark, ls="-", color=color, label=name)
    print(f"{name:<12}", *(f"{mean:6.3f}" for mean in means))
print(f"{'none':<12} {raw:6.3f}")
ax.axhline(raw, color="black", ls=":", label="none")
ax.set(xscale="log", xticks=sizes, xticklabels=sizes, ylim=(None, 0.75))
ax.set(xlabel="labelled reviews", ylabel="log loss on test reviews (nats)")
ax.legend(ncols=2)

# %%
# With all labelled reviews: of the reviews that got a probability of about p, which
# share is fresh? On the diagonal it is p.

fig, axes = plt.subplots(1, 3, figsize=(9, 3.4), sharey=True, layout="constrained")
for ax, name in zip(axes, (None, "auto", "isotonic"), strict=True):
    P = calibrated_proba(make_calibrator(name).fit(S, codes.astype(int)), S_test)
    CalibrationDisplay.from_predictions(
        ~codes_test, P[:, 0], n_bins=8, strategy="quantile", ax=ax, name=str(name)
    )
    ax.set(title=str(name), xlabel="mean probability of fresh")
    ax.set_ylabel("share of fresh" if ax is axes[0] else "")
    ax.get_legend().remove()

# %%
# **What one sees.** With few labels, calibrators that only fit do harm, for what they
# learn is noise; "auto" starts from batch calibration, which needs no labels, and goes
# as far from it as these show. This prompt's own probabilities are good already, so
# that it takes some thirty labels to do better than none at all; with a prompt that
# prefers one label more, a few suffice. "temperature" cannot move the boundary between
# the labels, and gains least from many; isotonic regression needs far more than there
# are.
