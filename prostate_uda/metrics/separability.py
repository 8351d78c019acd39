"""Floor 1: how well a linear classifier tells two domains apart by their features."""

import math
from collections.abc import Sequence

import numpy as np
from torch import Tensor

from prostate_uda.errors import ShapeError

FOLDS = 5
"""Most folds of the cross-validation."""


def domain_separability(features: Tensor, target: Tensor, cases: Sequence[str]) -> float:
    """Cross-validated accuracy of logistic regression on standardized features; 0.5 is chance where domains are equal.

    A patient's pixels are never in the training and the test part at once: neighbours have nearly the same features,
    and would be recognised in place of the domain. The linear relative of the proxy A-distance of Ben-David et al.,
    "Analysis of representations for domain adaptation" (NIPS 2006).

    Args:
        features: ``(P, F)``.
        target: ``(P,)`` bool: of the target, else of the source.
        cases: Whose each of the P rows is.

    Returns:
        In ``[0, 1]``; NaN where a domain has fewer than two patients.

    Raises:
        ShapeError: the three do not fit one another.
    """
    from sklearn.linear_model import LogisticRegression  # here: who draws no figure need not wait for it
    from sklearn.model_selection import PredefinedSplit, cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    if features.ndim != 2 or target.shape != features.shape[:1] or len(cases) != len(features):
        shapes = tuple(features.shape), tuple(target.shape), len(cases)
        raise ShapeError(f"features, domains and cases of {shapes}; allowed are (P, F), (P,) and P cases")
    domains = target.numpy()
    patients = [list(dict.fromkeys(np.array(cases)[domains == domain])) for domain in (False, True)]
    folds = min(FOLDS, *map(len, patients))
    if folds < 2:
        return math.nan
    fold = [patients[int(domain)].index(case) % folds for domain, case in zip(domains, cases, strict=True)]
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000))
    told = cross_val_predict(model, features.double().numpy(), domains, cv=PredefinedSplit(fold))
    return float((told == domains).mean())
