"""Floor 5: the paper's ablations as rows of a comparison: one setting of ``metacorrection`` changes, the rest stays.

Self-training on the same pseudo-labels stands beside them: what a setting earns is measured from there.
"""

import json
from typing import Any

from prostate_uda.data.domains import get_domain
from prostate_uda.errors import SettingsError, UnknownNameError
from prostate_uda.maths.label_noise import KINDS
from prostate_uda.recipes.comparison.grid import Variant

SELF_TRAINING, SUBJECT = Variant("self-training", "self-training"), "metacorrection"
LEARNED = {"ntm_mode": "learned", "anchor": 0.2, "learned_rate": 0.05, "virtual_rate": 1e-2}
"""What ``metacorrection-balanced`` has, on all pseudo-labels: a choice among them would itself answer some noise."""
RATES = (0.1, 0.2, 0.3, 0.4, 0.5)


def _options(**options: Any) -> Variant:  # noqa: ANN401  any option's
    """``metacorrection`` with options, named as a user would write it."""
    query = "&".join(f"{name}={json.dumps(value, separators=(',', ':'))}" for name, value in options.items())
    return Variant(f"{SUBJECT}?{query}", SUBJECT, options)


def _labelled(labeller: str, warm_up: str, *methods: str) -> tuple[Variant, ...]:
    """Methods on the pseudo-labels of the network that a warm-up leaves, as the paper's table 4 has them."""
    return tuple(
        Variant(f"{method}, labels of {labeller}", method, changes={"warm_up": warm_up}, labeller=labeller)
        for method in methods
    )


def _rounds(number: int, method: str) -> Variant:
    return Variant(f"{method}, rounds {number}", method, changes={"rounds": number})


def _noises(kind: str) -> tuple[Variant, ...]:
    """Noise of that kind in the pseudo-labels, uncorrected and corrected."""
    noisy = [({"label_noise": f"{kind}:{rate}"}, f"{kind} {rate}") for rate in RATES]
    return (
        *(Variant(f"self-training, {told}", "self-training", changes=changes) for changes, told in noisy),
        *(Variant(f"{SUBJECT}, learned, {told}", SUBJECT, LEARNED, changes) for changes, told in noisy),
    )


WARM = {"warm_up": "adversarial"}
ABLATIONS: dict[str, tuple[Variant, ...]] = {
    "levels": (SELF_TRAINING, *(_options(level_weights=pair) for pair in ((1.0, 0.0), (0.0, 1.0), (0.1, 1.0)))),
    "alpha": (SELF_TRAINING, *(_options(level_weights=(alpha, 1.0)) for alpha in (0.0, 0.05, 0.1, 0.2, 0.5, 1.0))),
    "gamma": (
        SELF_TRAINING,
        *(_options(virtual_rate=rate) for rate in (1e-4, 1e-3, 1e-2)),
        *(_options(ntm_rate=rate) for rate in (0.0, 0.03, 0.3)),
    ),
    "rounds": tuple(_rounds(number, method) for method in ("self-training", SUBJECT) for number in (1, 2, 3)),
    "meta-set": (
        SELF_TRAINING,
        *(_options(meta_threshold=threshold) for threshold in (0.0, 0.3, 0.5, 0.7)),
        *(_options(meta_minimum=share) for share in (0.01, 0.5)),
    ),
    "pseudo-labels": (
        *(Variant(name, name) for name in ("self-training", "threshold", "cbst", SUBJECT)),
        Variant(f"{SUBJECT}, confidence 0.9", SUBJECT, changes={"pseudo_threshold": 0.9}),
        _options(portion=0.2),
    ),
    "recommended": (
        Variant("recommended", "recommended"),
        Variant("without the NTM", "self-training", {"volume_trust": 0.5}, WARM),
        Variant("without the volumes", "recommended", {"volume_trust": 0.0}),
        Variant("without the warm-up", "recommended", changes={"warm_up": "none"}),
        Variant("self-training?volume_trust=0.5", "self-training", {"volume_trust": 0.5}),
        SELF_TRAINING,
        Variant("NTM as counted, not learned", "recommended", {"ntm_mode": "per-step", "ntm_rate": 0.0, "anchor": 0.0}),
        Variant("NTM without an anchor", "recommended", {"anchor": 0.0}),
    ),
    "noise": tuple(row for kind in KINDS for row in _noises(kind)),
    **{f"noise-{kind}": _noises(kind) for kind in KINDS},
}
"""What is changed to the rows of its table. ``pseudo-labels`` is the paper's table 4; ``recommended`` takes that
method's parts away one by one, and belongs under the strong protocol."""

SCENES: dict[str, tuple[Variant, ...]] = {
    **{name: rows for name, rows in ABLATIONS.items() if not name.startswith("noise")},
    "pseudo-labels": (
        Variant("adaptsegnet", "adaptsegnet"),
        *_labelled("adaptsegnet", "adversarial", "mrent", "threshold", "uncertainty", "dmlc", SUBJECT),
        Variant("ltir", "ltir"),
        *_labelled("ltir", "ltir", "mrent", "dmlc", SUBJECT),
        *_labelled("source-only", "none", "mrent", "dmlc", SUBJECT),
    ),
}
"""Those of driving scenes. ``pseudo-labels`` has the rows of table 4."""


def ablation(name: str, source: str | None = None) -> tuple[Variant, ...]:
    """The rows of that ablation.

    Args:
        name: In :data:`ABLATIONS`.
        source: Domain that is adapted from; by default one of prostates.

    Raises:
        UnknownNameError: no such ablation or domain.
        SettingsError: the ablation is none of driving scenes.
    """
    if name not in ABLATIONS:
        raise UnknownNameError("ablation", name, ABLATIONS)
    if source is None or get_domain(source).task == "zones":
        return ABLATIONS[name]
    if name not in SCENES:
        raise SettingsError(
            f"ablation {name!r} from {source!r}: noise is injected into labels of prostate zones alone; choose one of: "
            f"{', '.join(sorted(SCENES))}"
        )
    return SCENES[name]
