"""Floor 3: the methods by name. A new one is a file here, a line below, and a test."""

from collections.abc import Callable
from functools import partial

from prostate_uda.errors import UnknownNameError
from prostate_uda.methods.adaptsegnet import AdaptSegNet
from prostate_uda.methods.advent import Advent, IntraDA
from prostate_uda.methods.base import TEACHERS, Losses, Method, State
from prostate_uda.methods.cag import CategoryAnchors
from prostate_uda.methods.class_balanced import ClassBalanced, LabelRegularized
from prostate_uda.methods.entropy import EntropyMinimization
from prostate_uda.methods.ltir import LTIR
from prostate_uda.methods.maxsquare import MaxSquare
from prostate_uda.methods.metacorrection import MetaCorrection
from prostate_uda.methods.mlsl import MLSL
from prostate_uda.methods.options import check_options
from prostate_uda.methods.patch_align import PatchAlign
from prostate_uda.methods.pycda import PyCDA
from prostate_uda.methods.self_training import SelfTraining
from prostate_uda.methods.source_only import SourceOnly
from prostate_uda.methods.uncertainty import Uncertainty
from prostate_uda.networks.optimization import Optimization

METHODS: dict[str, Callable[..., Method]] = {
    "source-only": SourceOnly,
    "self-training": SelfTraining,
    "threshold": partial(SelfTraining, confidence=0.9),
    "cbst": ClassBalanced,
    "mrkld": partial(ClassBalanced, kld_weight=0.1),
    "mrent": partial(ClassBalanced, entropy_weight=0.1),
    "lrent": LabelRegularized,
    "entropy": EntropyMinimization,
    "maxsquare": MaxSquare,
    "uncertainty": Uncertainty,
    "adaptsegnet": AdaptSegNet,
    "patch-align": PatchAlign,
    "cag": CategoryAnchors,
    "advent": Advent,
    "intrada": IntraDA,
    "pycda": PyCDA,
    "mlsl": MLSL,
    "ltir": LTIR,
    "dmlc": partial(MetaCorrection, level_weights=(0.0, 1.0)),
    "metacorrection": partial(MetaCorrection, level_weights=(0.1, 1.0)),
    "metacorrection-balanced": partial(
        MetaCorrection, ntm_mode="learned", portion=0.5, anchor=0.2, learned_rate=0.05, virtual_rate=1e-2
    ),
    "recommended": partial(
        MetaCorrection,
        ntm_mode="learned",
        ntm_start="confusion",
        volume_trust=0.5,
        anchor=5.0,
        learned_rate=0.05,
        virtual_rate=1e-2,
    ),
}


def build_method(name: str, **settings: object) -> Method:
    """The method of that name, with these settings in place of its published ones.

    Raises:
        UnknownNameError: no such method.
        SettingsError: a setting it does not have, or a value it refuses.
    """
    if name not in METHODS:
        raise UnknownNameError("method", name, METHODS)
    factory = METHODS[name]
    check_options(name, factory.func if isinstance(factory, partial) else factory, settings)  # type: ignore[arg-type]
    return factory(**settings)


__all__ = [
    "LTIR",
    "METHODS",
    "MLSL",
    "TEACHERS",
    "AdaptSegNet",
    "Advent",
    "CategoryAnchors",
    "ClassBalanced",
    "EntropyMinimization",
    "IntraDA",
    "LabelRegularized",
    "Losses",
    "MaxSquare",
    "MetaCorrection",
    "Method",
    "Optimization",
    "PatchAlign",
    "PyCDA",
    "SelfTraining",
    "SourceOnly",
    "State",
    "Uncertainty",
    "build_method",
]
