"""Floor 2: MONAI transforms by name."""

from prostate_uda.transforms.acquisition import (
    RandSimulateAcquisition,
    RandSimulateAcquisitiond,
    SimulateAcquisition,
    SimulateAcquisitiond,
)
from prostate_uda.transforms.augmentation import AUGMENTATIONS
from prostate_uda.transforms.coil import CorrectCoilProfile, CorrectCoilProfiled
from prostate_uda.transforms.crop import CropGlandRegion, CropGlandRegiond
from prostate_uda.transforms.fourier import (
    FourierAmplitudeSwap,
    FourierAmplitudeSwapd,
    RandFourierAmplitudeSwap,
    RandFourierAmplitudeSwapd,
    amplitude_bank,
)
from prostate_uda.transforms.histogram import MatchReferenceHistogram, MatchReferenceHistogramd, learn_references
from prostate_uda.transforms.n4 import N4BiasFieldCorrection, N4BiasFieldCorrectiond
from prostate_uda.transforms.nyul import (
    Landmarks,
    NyulNormalize,
    NyulNormalized,
    learn_landmarks,
    load_landmarks,
    save_landmarks,
)
from prostate_uda.transforms.presets import NORMALIZATIONS, Normalization
from prostate_uda.transforms.scanner import Acquisition, AcquisitionRanges, EndorectalCoil
from prostate_uda.transforms.scenes import SCENE_AUGMENTATIONS
from prostate_uda.transforms.stacks import SliceStack, SliceStackd
from prostate_uda.transforms.zones import LabelZones, LabelZonesd

__all__ = [
    "AUGMENTATIONS",
    "NORMALIZATIONS",
    "SCENE_AUGMENTATIONS",
    "Acquisition",
    "AcquisitionRanges",
    "CorrectCoilProfile",
    "CorrectCoilProfiled",
    "CropGlandRegion",
    "CropGlandRegiond",
    "EndorectalCoil",
    "FourierAmplitudeSwap",
    "FourierAmplitudeSwapd",
    "LabelZones",
    "LabelZonesd",
    "Landmarks",
    "MatchReferenceHistogram",
    "MatchReferenceHistogramd",
    "N4BiasFieldCorrection",
    "N4BiasFieldCorrectiond",
    "Normalization",
    "NyulNormalize",
    "NyulNormalized",
    "RandFourierAmplitudeSwap",
    "RandFourierAmplitudeSwapd",
    "RandSimulateAcquisition",
    "RandSimulateAcquisitiond",
    "SimulateAcquisition",
    "SimulateAcquisitiond",
    "SliceStack",
    "SliceStackd",
    "amplitude_bank",
    "learn_landmarks",
    "learn_references",
    "load_landmarks",
    "save_landmarks",
]
