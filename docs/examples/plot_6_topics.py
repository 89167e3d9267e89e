"""
Several topics a text
=====================

Where several labels may apply to a text, each has a probability, a calibrator and a
threshold of its own. The sentences here are written by the model itself.
"""

import os
from tempfile import TemporaryDirectory

import matplotlib.pyplot as plt
import numpy as np
from recorded import RecordedAnswers
from sklearn.base import clone
from sklearn.metrics import f1_score, roc_auc_score

from sklearn_logprob import LogprobClassifier, threshold_curve
from sklearn_logprob.datasets import make_topic_texts

topics = ["sports", "food", "politics", "travel"]
with TemporaryDirectory() as folder:
    made = make_topic_texts(
        RecordedAnswers(),
        topics,
        n=120,
        max_topics=2,
        template="Write one short sentence about {topics}.",
        path=os.path.join(folder, "topics.csv"),
        max_tokens=40,
    )
for text, row in zip(made.data[:4], made.target[:4], strict=True):
    print([topic for topic, is_there in zip(topics, row, strict=True) if is_there], text)

# %%
# A small model strays: some sentences are not about what they were asked for, or about
# more. So this is a problem with errors in its labels, as real ones are.
#
# ``multilabel="one_query"`` asks once for the list of topics, and reads at every position
# of that list how probable each topic was. The default, a yes/no question about each
# topic, is the better way with models that can answer one; this one cannot, as the last
# column shows.

X, Y = made.data[:80], made.target[:80]
X_test, Y_test = made.data[80:], made.target[80:]
prompt = """\
Text: The striker scored twice in the final match.
Topics: sports

Text: The senate voted on the new tax on bread.
Topics: politics, food

Text: We took the night train along the coast and ate oysters.
Topics: travel, food

Text: {text}
Topics:"""
listed = LogprobClassifier(
    RecordedAnswers(),
    prompt=prompt,
    classes=topics,
    multilabel="one_query",
    threshold="f1_macro",
    random_state=0,
)
raw = clone(listed).set_params(calibrator=None, threshold=None).fit(X, Y)
listed.fit(X, Y)
question = "{text}\nIs this about {label}? Answer yes or no.\nAnswer:"
asked = LogprobClassifier(
    RecordedAnswers(), prompt=question, classes=topics, multilabel="per_label"
).fit()

P, P_asked = listed.predict_proba(X_test), asked.predict_proba(X_test)
before, after = (
    f1_score(Y_test, clf.predict(X_test), average=None) for clf in (raw, listed)
)
print("topic      F1 as it comes   F1   threshold   ROC AUC   of yes/no questions")
for k, topic in enumerate(topics):
    auc, auc_asked = (roc_auc_score(Y_test[:, k], p[:, k]) for p in (P, P_asked))
    print(
        f"{topic:<10}{before[k]:>12.2f}{after[k]:>10.2f}{listed.threshold_[k]:>9.2f}"
        f"{auc:>11.2f}{auc_asked:>15.2f}"
    )

# %%
# All topics together: what one threshold on all probabilities would do to a sentence,
# on average over the sentences.

curve = threshold_curve(Y_test, P, average="samples")[:-1]
fig, ax = plt.subplots(figsize=(6.4, 4.2), layout="constrained")
styles = {"precision": ("#0072B2", "-"), "recall": ("#D55E00", "--"), "f1": ("0.2", ":")}
for name, (color, line) in styles.items():
    ax.plot(curve["threshold"], curve[name], line, color=color, label=name)
best = curve["threshold"][np.argmax(curve["f1"])]
ax.set(xlabel="threshold on every topic's probability", ylabel="mean over sentences")
ax.set(ylim=(0, 1.02), title=f"{len(X_test)} sentences, {len(topics)} topics")
ax.legend()

# %%
# **What one sees.** As they come, the topics' probabilities are in very different
# ranges, and a cut at one half is right for none of them: "travel" is never found.
# Their order is nearly perfect, though. A calibrator and a threshold for each topic
# turn that order into good decisions. And the way of asking decides over everything:
# about the same sentences, yes/no questions to this model are worth nothing. Forty
# sentences say all that roughly, and the curves move in steps.
