"""Scans of a patient whose particulars cannot be overlooked, and the search for them in all that was written."""

import gzip
import json
import zipfile
from collections.abc import Iterator
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk

from tests.conftest import MakeSeries
from tests.hostile.faults import AFFINE, scan

pydicom = pytest.importorskip("pydicom")

TAGS = {
    "PatientName": "SECRETNAME^HIDDENGIVEN^^Dr",
    "PatientID": "IDSECRET-4711",
    "OtherPatientIDs": "OTHERSECRET",
    "PatientBirthDate": "19331122",
    "PatientAddress": "STREETSECRET 1",
    "AccessionNumber": "ACCSECRET99",
    "StudyDescription": "STUDYSECRET of the pelvis",
    "InstitutionName": "HOSPITALSECRET",
    "ReferringPhysicianName": "DOCTORSECRET^X",
    "OperatorsName": "OPERATORSECRET",
    "PatientComments": "COMMENTSECRET",
    "ImageComments": "REMARKSECRET",
}
NEEDLES = (b"secret", b"hiddengiven", b"19331122", b"1933-11-22")
"""One of these is in every text of :data:`TAGS`, in lower case."""


def study(folder: Path, make_series: MakeSeries, *, seed: int = 0, series: str = "t2_tse_tra", **tags: str) -> Path:
    """A series of ours whose headers name the patient."""
    uid = f"1.2.826.0.1.3680043.2.1125.{seed + 10}"
    make_series(folder, scan(seed), uid=uid, study=f"{uid}.1", description=series, affine=AFFINE)
    for file in folder.iterdir():
        header = pydicom.dcmread(file)
        for name, value in {**TAGS, **tags}.items():
            setattr(header, name, value)
        header.save_as(file)
    return folder


def nifti(path: Path, array: np.ndarray) -> Path:
    """A NIfTI whose header's free texts and extension name the patient."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = nib.Nifti1Image(array, AFFINE, dtype=array.dtype)
    image.header["descrip"] = image.header["aux_file"] = b"SECRETNAME"
    image.header["db_name"] = image.header["intent_name"] = b"SECRETNAME"
    image.header.extensions.append(nib.nifti1.Nifti1Extension("comment", json.dumps(TAGS).encode()))
    nib.save(image, path)
    return path


def itk(path: Path, array: np.ndarray) -> Path:
    """A NRRD or MHA whose fields name the patient, as a conversion by ITK leaves them."""
    image = sitk.GetImageFromArray(array.T)
    image.SetSpacing((1.5, 1.5, 3.0))
    for key, value in (("0010|0010", "SECRETNAME"), ("0010|0030", "19331122"), ("PatientName", "SECRETNAME")):
        image.SetMetaData(key, value)
    sitk.WriteImage(image, str(path))
    return path


def everything(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Each file below a folder by its path there, and the content of archives in them."""
    for path in sorted(folder.rglob("*")):
        place = str(path.relative_to(folder))
        yield place, place.encode()
        if path.is_file():
            content = path.read_bytes()
            yield place, content
            if content[:2] == b"\x1f\x8b":
                yield place, gzip.decompress(content)
            if zipfile.is_zipfile(path):
                with zipfile.ZipFile(path) as archive:
                    yield from ((f"{place}:{name}", archive.read(name)) for name in archive.namelist())


def telling(folder: Path) -> set[str]:
    """The files below a folder in whose name or content a particular of the patient stands."""
    return {place for place, content in everything(folder) if any(needle in content.lower() for needle in NEEDLES)}
