"""
Grid search over prompts
========================

A prompt is a parameter. ``GridSearchCV`` compares prompts, calibrators and thresholds
together; the model is asked once for each prompt and review, whatever the folds.
"""

import matplotlib.pyplot as plt
from recorded import PROMPT, WORDS, RecordedAnswers, load_reviews
from sklearn.base import clone
from sklearn.metrics import log_loss
from sklearn.model_selection import GridSearchCV, StratifiedKFold

from sklearn_logprob import LogprobClassifier

X, y = load_reviews("train", 200)
X_test, y_test = load_reviews("test", 200)
prompts = {
    "the named one, 'question'": "question",
    "two examples, run on": PROMPT.replace("\n\n", "\n"),
    "two examples, set apart": PROMPT,
}
clf = LogprobClassifier(
    RecordedAnswers(), verbalizer=WORDS, readout="labels", random_state=0
)
search = GridSearchCV(
    clf,
    {"prompt": list(prompts.values()), "calibrator": [None, "temperature", "auto"]},
    scoring="neg_log_loss",
    cv=StratifiedKFold(5, shuffle=True, random_state=0),
).fit(X, y)

# %%
# Nine candidates in five folds: 45 fits and 45 predictions. What was asked of the model
# is three prompts about 200 reviews, once each.

results = search.cv_results_
names = list(prompts)
for prompt, calibrator, loss in zip(
    results["param_prompt"], results["param_calibrator"], -results["mean_test_score"]
):
    name = names[list(prompts.values()).index(prompt)]
    print(f"{name:<27}{calibrator!s:<13}log loss {loss:.3f} nats")
best = search.best_params_
print("chosen:", names[list(prompts.values()).index(best["prompt"])], best["calibrator"])

# %%
# The choice is judged on reviews that the search has not seen. All three prompts are
# drawn here, each as it comes and calibrated.


def losses(prompt):
    """Give the log loss on test reviews without and with calibration."""
    for calibrator in (None, "auto"):
        one = clone(clf).set_params(prompt=prompt, calibrator=calibrator).fit(X, y)
        yield log_loss(y_test, one.predict_proba(X_test))


fig, ax = plt.subplots(figsize=(6.4, 3.2), layout="constrained")
for row, prompt in enumerate(prompts.values()):
    raw, calibrated = losses(prompt)
    ax.plot([raw, calibrated], [row, row], color="0.6", zorder=1)
    ax.plot(raw, row, "s", color="#D55E00", label="as it comes" if row == 0 else None)
    ax.plot(
        calibrated, row, "o", color="#0072B2", label="calibrated" if row == 0 else None
    )
ax.axvline(0.6931, ls=":", color="black", label="both always 50 %")
ax.set(yticks=range(3), yticklabels=names, ylim=(2.6, -0.6))
ax.set(xlabel="log loss on test reviews (nats; less is better)")
ax.legend(loc="lower right", fontsize="small")

# %%
# **What one sees.** As they come, the prompts differ widely, and two of them by blank
# lines only. Calibrated, those two are close together: much of what looks like a better
# prompt is a different preference for one word, and calibration removes that from all
# of them. What stays is how well a prompt orders the reviews, and there examples help
# this model. So compare prompts after calibration, by log loss, as the search did.
