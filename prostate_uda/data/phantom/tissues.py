"""Floor 2: the tissues of the phantom and what magnetic resonance sees of each, with the sources.

Relaxation times in milliseconds, proton densities relative to water. Where the numbers come from:

* [B04] C. M. J. de Bazelaire et al., "MR imaging relaxation times of abdominal and pelvic tissues measured in vivo at
  3.0 T: preliminary results", Radiology 230:652-659, 2004. At 3 T (T1/T2): paravertebral muscle 898/29, prostate
  1597/74, bone marrow (L4) 586/49, subcutaneous fat 382/68. T1 is on average 21 % longer at 3 T than at 1.5 T.
* [S13] C. J. Simpkin et al., "Relationship between T2 relaxation and apparent diffusion coefficient in malignant and
  non-malignant prostate regions", Br J Radiol 86:20120469, 2013. Endorectal MRI, T2: peripheral zone 149 +- 49,
  transition zone 125 +- 26, tumour 97 +- 23.
* [P08] A. Pai, X. Li, S. Majumdar, "A comparative study at 3 Tesla of sequence dependence of T2 quantitation in the
  knee", Magn Reson Imaging 26:1215-1220, 2008. The apparent T2 of fat and of marrow grows with the echo train: 41-143
  and 42-160 ms. This is why fat is bright in a turbo spin echo; we take values from the upper part of these ranges.
* [Z17] J. Z. Bojorquez et al., "What are normal relaxation times of tissues at 3 T?", Magn Reson Imaging 35:69-80,
  2017: the review that shows how wide the spread is (fat T2 41-371 ms); our per-case variation stands for it.

Assumptions, none of them measured here: where a paper gives one field only, the other follows from T1(3 T) = 1.21
T1(1.5 T) [B04] and T2(3 T) = 0.92 T2(1.5 T); S13's values are taken as the 1.5 T column, and peripheral zone (163) and
lesion (88) are set within one standard deviation of them, apart for a clear contrast; the transition zone's 125 ms is
split over its parts (glandular nodule above, stroma below); fibrous tissue, fluids other than water, walls and all
proton densities are chosen to look right beside real scans.
"""

from dataclasses import dataclass
from enum import IntEnum, unique

import numpy as np
from numpy.typing import NDArray

T1_RATIO_3T = 1.21
T2_RATIO_3T = 0.92


@unique
class Tissue(IntEnum):
    """What a point of the phantom is made of; the value indexes the signal table."""

    AIR = 0
    SKIN = 1
    FAT = 2
    PELVIC_FAT = 3
    MUSCLE = 4
    SMOOTH_MUSCLE = 5
    MARROW = 6
    CORTEX = 7
    CARTILAGE = 8
    URINE = 9
    SEMINAL_FLUID = 10
    FIBROUS = 11
    PERIPHERAL = 12
    TRANSITION = 13
    NODULE_GLANDULAR = 14
    NODULE_STROMAL = 15
    STROMA_ANTERIOR = 16
    LESION = 17
    URETHRA = 18
    RECTAL_WALL = 19
    MUCOSA = 20
    STOOL = 21
    VEIN = 22
    ARTERY = 23
    ERECTILE = 24
    FASCIA = 25
    INFLAMED = 26


@dataclass(frozen=True)
class Relaxation:
    """One tissue at 1.5 T and how it varies.

    Attributes:
        density: Proton density relative to water.
        t1_ms: Longitudinal relaxation time at 1.5 T.
        t2_ms: Transverse relaxation time at 1.5 T, as a turbo spin echo sees it.
        spread: Standard deviation of log T2 between men.
        fine: Relative standard deviation of the texture of about a millimetre.
        coarse: The same for the texture of several millimetres.
    """

    density: float
    t1_ms: float
    t2_ms: float
    spread: float = 0.05
    fine: float = 0.04
    coarse: float = 0.03

    def times(self, field_tesla: float) -> tuple[float, float]:
        """T1 and T2 in milliseconds at a field; linear between and beyond 1.5 T and 3 T."""
        weight = (field_tesla - 1.5) / 1.5
        return self.t1_ms * (1 + weight * (T1_RATIO_3T - 1)), self.t2_ms * (1 + weight * (T2_RATIO_3T - 1))


TISSUES: dict[Tissue, Relaxation] = {
    Tissue.AIR: Relaxation(0.0, 1000.0, 50.0, 0.0, 0.0, 0.0),
    Tissue.SKIN: Relaxation(0.60, 800.0, 35.0),
    Tissue.FAT: Relaxation(0.92, 316.0, 138.0, 0.05, 0.03, 0.03),  # T1 [B04], T2 [P08]
    Tissue.PELVIC_FAT: Relaxation(0.90, 316.0, 135.0, 0.05, 0.06, 0.03),  # T1 [B04], T2 [P08]
    Tissue.MUSCLE: Relaxation(0.80, 742.0, 33.0, 0.06, 0.12, 0.10),  # T1 [B04]; T2 29 ms, a little more in TSE
    Tissue.SMOOTH_MUSCLE: Relaxation(0.80, 1000.0, 46.0, 0.08, 0.10, 0.08),
    Tissue.MARROW: Relaxation(0.72, 484.0, 102.0, 0.10, 0.08, 0.12),  # T1 [B04], T2 [P08]
    Tissue.CORTEX: Relaxation(0.10, 300.0, 10.0, 0.0, 0.0, 0.0),
    Tissue.CARTILAGE: Relaxation(0.75, 1060.0, 48.0),
    Tissue.URINE: Relaxation(1.00, 3400.0, 700.0, 0.05, 0.01, 0.02),
    Tissue.SEMINAL_FLUID: Relaxation(0.95, 2200.0, 250.0, 0.15, 0.10, 0.10),
    Tissue.FIBROUS: Relaxation(0.70, 1000.0, 42.0),
    Tissue.PERIPHERAL: Relaxation(0.92, 1320.0, 163.0, 0.12, 0.10, 0.11),  # T1 [B04], T2 [S13] 149 +- 49
    Tissue.TRANSITION: Relaxation(0.86, 1320.0, 88.0, 0.08, 0.16, 0.14),  # T1 [B04]; the mean over TZ is [S13]'s
    Tissue.NODULE_GLANDULAR: Relaxation(0.90, 1400.0, 140.0, 0.10, 0.22, 0.14),
    Tissue.NODULE_STROMAL: Relaxation(0.82, 1250.0, 70.0, 0.08, 0.14, 0.12),
    Tissue.STROMA_ANTERIOR: Relaxation(0.80, 1100.0, 52.0, 0.08, 0.10, 0.08),
    Tissue.LESION: Relaxation(0.85, 1300.0, 88.0, 0.08, 0.08, 0.06),  # T2 [S13] 97 +- 23
    Tissue.URETHRA: Relaxation(0.90, 1500.0, 150.0),
    Tissue.RECTAL_WALL: Relaxation(0.80, 1000.0, 52.0, 0.08, 0.12, 0.12),
    Tissue.MUCOSA: Relaxation(0.88, 1300.0, 110.0, 0.08, 0.16, 0.16),
    Tissue.STOOL: Relaxation(0.60, 700.0, 60.0, 0.25, 0.45, 0.45),
    Tissue.VEIN: Relaxation(0.90, 1400.0, 170.0, 0.10, 0.15, 0.15),
    Tissue.ARTERY: Relaxation(0.06, 1300.0, 100.0),
    Tissue.ERECTILE: Relaxation(0.92, 1400.0, 170.0, 0.10, 0.08, 0.08),
    Tissue.INFLAMED: Relaxation(0.90, 1320.0, 118.0, 0.08, 0.10, 0.10),  # between zone and lesion
    Tissue.FASCIA: Relaxation(0.84, 600.0, 95.0, 0.08, 0.16, 0.20),  # fat, connective tissue and small veins
}


def textures() -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Fine and coarse texture amplitudes, each ``(number of tissues,)``, indexed by :class:`Tissue`."""
    fine = np.array([TISSUES[tissue].fine for tissue in Tissue], dtype=np.float32)
    coarse = np.array([TISSUES[tissue].coarse for tissue in Tissue], dtype=np.float32)
    return fine, coarse
