"""Floor 2: NCI-ISBI 2013 (ISBI-MR-Prostate-2013), its 1.5 T half: the ProstateDx cases.

DICOM series (or converted files) named by patient, ``ProstateDx-SS-NNNN``; labels are the challenge's NRRD files, which
may carry ``_truth`` or ``_correctedLabels``. SS is 01 for training, 02 for the leaderboard and 03 for test; the latter
two are the declared test part. The 3T half (``Prostate3T-…``) comes from the Decathlon's hospital and is left out.
Training cases 0055 and 0082 have labels on another grid than their image: they are refused where labels are read, and
``prostate-uda prepare nci-isbi13`` lays them where they belong.
"""

from pathlib import Path

from prostate_uda.data.domains.base import Found
from prostate_uda.data.domains.folder import FolderDomain
from prostate_uda.errors import DataError

PREFIX = "ProstateDx-"
TEST_PREFIXES = ("ProstateDx-02-", "ProstateDx-03-")


class NCIISBI13(FolderDomain):
    """The ProstateDx cases of the challenge."""

    def find(self, root: Path | None, labels: Path | None = None) -> Found:
        """Find the ProstateDx cases; see :class:`FolderDomain` for the layouts.

        Raises:
            DataError: As there, and if no ProstateDx case is in the folder.
        """
        cases = super().find(root, labels).cases
        if not cases:
            raise DataError(
                f"{root} holds no case named {PREFIX}…; give the folder with the challenge's 1.5 T patients"
            )
        return Found(cases, frozenset(case.id for case in cases if case.id.startswith(TEST_PREFIXES)))

    def keeps(self, name: str) -> bool:
        """Whether it is a ProstateDx scan or label; layout folders always are looked into by their own names."""
        return name.startswith(PREFIX)


NCI_ISBI13 = NCIISBI13(
    name="nci-isbi13",
    title="NCI-ISBI 2013, ProstateDx: 1.5 T Philips Achieva, endorectal coil; 2 = central gland (TZ and central zone)",
    licence="CC BY 3.0",
)
