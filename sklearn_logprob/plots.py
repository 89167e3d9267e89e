"""Pictures in scikit-learn's manner; matplotlib is imported when one is drawn.

``RocCurveDisplay``, ``PrecisionRecallDisplay``, ``DetCurveDisplay`` and
``CalibrationDisplay`` of scikit-learn take a fitted classifier as they are.
"""

from __future__ import annotations

from sklearn_logprob._draws_plot import SoftHardDisplay
from sklearn_logprob._stability_plot import StabilityDisplay
from sklearn_logprob._threshold_plot import ThresholdDisplay
from sklearn_logprob._tokens_plot import OtherTokensDisplay

__all__ = [
    "OtherTokensDisplay",
    "SoftHardDisplay",
    "StabilityDisplay",
    "ThresholdDisplay",
]
