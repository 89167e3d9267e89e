"""Any language model as a calibrated, tunable scikit-learn classifier."""

from sklearn_logprob._errors import *  # noqa: F403
from sklearn_logprob._types import *  # noqa: F403
