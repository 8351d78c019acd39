"""Floor 2: Cityscapes (Cordts et al., CVPR 2016): ``leftImg8bit/PART/CITY/…`` and ``gtFine/PART/CITY/…``.

2,975 pictures of ``train`` are learned from; the 500 of ``val`` are the declared test part. ``test`` is not looked at:
its published labels are dummies. Labels are ``*_gtFine_labelIds.png`` or, where a picture has none,
``*_gtFine_labelTrainIds.png``.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from prostate_uda.data.domains.base import Domain, Found
from prostate_uda.data.domains.scene_folders import matched, png_files
from prostate_uda.data.scene_classes import CITYSCAPES_VALUES, TRAIN_VALUES
from prostate_uda.errors import DataError

PICTURES, LABELS = "leftImg8bit", "gtFine"
TRAIN, VAL = "train", "val"
PICTURE_END = "_leftImg8bit.png"
ENDS: Mapping[str, Mapping[int, int]] = {
    "_gtFine_labelTrainIds.png": TRAIN_VALUES,
    "_gtFine_labelIds.png": CITYSCAPES_VALUES,
}
"""How label files end and what their values mean; the later one counts where a picture has both."""


class Cityscapes(Domain):
    """Cityscapes, and whatever is laid out like it."""

    def find(self, root: Path | None, labels: Path | None = None) -> Found:
        """Find the pictures of ``train`` and ``val``, with their labels where there are any.

        Args:
            root: The folder with ``leftImg8bit`` and ``gtFine``.
            labels: A folder in place of ``gtFine``: one with ``train`` and ``val``, or any other, which is searched at
                every depth.

        Raises:
            DataError: The folder has another layout, a picture or a label is there twice, or a label has no picture.
        """
        if root is None:
            raise DataError(f"domain {self.name!r} needs its folder")
        images = _by_frame([root / PICTURES / part for part in (TRAIN, VAL)], PICTURE_END)
        if not images:
            raise DataError(
                f"{root} holds no {PICTURES}/{TRAIN}/CITY/*{PICTURE_END}; give the folder with {PICTURES} and {LABELS}"
            )
        found: dict[str, Path] = {}
        meaning: dict[str, Mapping[int, int]] = {}
        for end, values in ENDS.items():
            of_end = _labels(labels or root / LABELS, end)
            found |= of_end
            meaning |= dict.fromkeys(of_end, values)
        cases = matched(images, found, CITYSCAPES_VALUES)
        cases = tuple(replace(case, values=meaning.get(case.id, case.values)) for case in cases)
        return Found(cases, frozenset(_by_frame([root / PICTURES / VAL], PICTURE_END)))


def _labels(folder: Path, end: str) -> dict[str, Path]:
    """Label files of the two parts, or of the whole folder where it has no parts."""
    parts = [folder / part for part in (TRAIN, VAL) if (folder / part).is_dir()]
    return _by_frame(parts or [folder], end)


def _by_frame(folders: Sequence[Path], end: str) -> dict[str, Path]:
    """Files at any depth by what stands before their ending: ``aachen_000000_000019``.

    Raises:
        DataError: Two files are of one frame.
    """
    found: dict[str, Path] = {}
    for path in (path for folder in folders for path in png_files(folder, f"**/*{end}")):
        frame = path.name.removesuffix(end)
        if frame in found:
            raise DataError(f"{found[frame]} and {path} are both of frame {frame!r}; keep one of them")
        found[frame] = path
    return found


CITYSCAPES = Cityscapes(
    name="cityscapes",
    title="Cityscapes: street scenes of 50 cities, 19 classes, finely annotated",
    licence="Cityscapes' own: non-commercial research, no redistribution",
    task="scenes",
    resize=(512, 1024),
)
