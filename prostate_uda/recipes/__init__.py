"""Floor 5: the Python API. One file is one task, told from top to bottom; the CLI only parses and prints."""

from prostate_uda.recipes.adapt import adapt
from prostate_uda.recipes.cite import cite
from prostate_uda.recipes.compare import CompareSettings, Variant, compare, every_method, pick_launcher
from prostate_uda.recipes.comparison.ablations import ablation
from prostate_uda.recipes.doctor import doctor
from prostate_uda.recipes.evaluate import evaluate
from prostate_uda.recipes.infer import Inferred, InferSettings, infer
from prostate_uda.recipes.info import describe
from prostate_uda.recipes.phantom import make_phantom
from prostate_uda.recipes.places import Place, read_role
from prostate_uda.recipes.plot import plot_ntm
from prostate_uda.recipes.plot_cases import plot_cases
from prostate_uda.recipes.plot_embedding import plot_embedding
from prostate_uda.recipes.plot_noise import plot_noise
from prostate_uda.recipes.prepare import prepare_decathlon, prepare_folder, prepare_nci_isbi13
from prostate_uda.recipes.rank import rank
from prostate_uda.recipes.review import review
from prostate_uda.recipes.settings import AdaptSettings
from prostate_uda.recipes.show import show

__all__ = [
    "AdaptSettings",
    "CompareSettings",
    "InferSettings",
    "Inferred",
    "Place",
    "Variant",
    "ablation",
    "adapt",
    "cite",
    "compare",
    "describe",
    "doctor",
    "evaluate",
    "every_method",
    "infer",
    "make_phantom",
    "pick_launcher",
    "plot_cases",
    "plot_embedding",
    "plot_noise",
    "plot_ntm",
    "prepare_decathlon",
    "prepare_folder",
    "prepare_nci_isbi13",
    "rank",
    "read_role",
    "review",
    "show",
]
