"""Floor 2: what a DICOM header says of the scanner and the visit."""

from dataclasses import dataclass
from pathlib import Path

import SimpleITK as sitk

from prostate_uda.data.dicom import dicom_folders, is_dicom, quiet

TAGS = ("0020|000d", "0008|0070", "0008|1090", "0018|0087", "0018|1250")
"""StudyInstanceUID, Manufacturer, ManufacturerModelName, MagneticFieldStrength, ReceiveCoilName."""


@dataclass(frozen=True)
class Scanner:
    """Who took a scan, as far as the header says; empty texts where it does not.

    Args:
        study: StudyInstanceUID.
        maker: Manufacturer.
        model: ManufacturerModelName.
        field: MagneticFieldStrength in tesla.
        coil: ReceiveCoilName.
    """

    study: str = ""
    maker: str = ""
    model: str = ""
    field: str = ""
    coil: str = ""

    @property
    def title(self) -> str:
        """``Philips Achieva, 1.5 T``; empty where the header says nothing."""
        maker = self.maker.split()[0].title() if self.maker else ""
        named = " ".join(part for part in (maker, self.model) if part)
        return ", ".join(part for part in (named, f"{self.field} T" if self.field else "") if part)


NO_SCANNER = Scanner()


def scanner_of(image: Path) -> Scanner:
    """The scanner of a DICOM folder's first image; of a file, or where nothing can be read, :data:`NO_SCANNER`."""
    if not image.is_dir():
        return NO_SCANNER
    images = (path for inside in dicom_folders(image) for path in sorted(inside.iterdir()) if is_dicom(path))
    first = next(images, None)
    if first is None:
        return NO_SCANNER
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(first))
    try:
        with quiet():
            reader.ReadImageInformation()
    except RuntimeError:
        return NO_SCANNER
    read = {key: reader.GetMetaData(key).strip() for key in TAGS if reader.HasMetaDataKey(key)}
    study, maker, model, field, coil = (read.get(key, "") for key in TAGS)
    return Scanner(study, maker, model, _tesla(field), coil)


def _tesla(text: str) -> str:
    """Some scanners write gauss."""
    try:
        value = float(text)
    except ValueError:
        return ""
    return f"{value / 10_000 if value > 100 else value:g}"
