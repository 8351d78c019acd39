"""Floor 5: the Python API. One file is one task, told from top to bottom; the CLI only parses and prints."""

from prostate_uda.recipes.adapt import adapt
from prostate_uda.recipes.evaluate import evaluate
from prostate_uda.recipes.infer import infer
from prostate_uda.recipes.info import describe
from prostate_uda.recipes.phantom import make_phantom
from prostate_uda.recipes.settings import AdaptSettings

__all__ = ["AdaptSettings", "adapt", "describe", "evaluate", "infer", "make_phantom"]
