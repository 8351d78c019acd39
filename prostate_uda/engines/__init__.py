"""Floor 4: loops that run any method: training, rounds, inference, evaluation."""

from prostate_uda.engines.inference import SliceStackInferer
from prostate_uda.engines.metacorrection import MetaCorrectionTrainer
from prostate_uda.engines.trainer import AdaptationTrainer, Pair, PairedLoader

__all__ = ["AdaptationTrainer", "MetaCorrectionTrainer", "Pair", "PairedLoader", "SliceStackInferer"]
