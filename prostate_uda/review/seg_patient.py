"""Floor 2, review: whose segmentation it is: patient and study of a DICOM header, cleaned.

Real headers break rules: de-identification drops what must be there, names come in many character sets, ages without
their unit. What is taken over is text, fit for UTF-8.
"""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

IDENTITY = ("PatientID", "PatientName", "AccessionNumber", "StudyID", "ReferringPhysicianName")
"""Taken over as they are, whatever they hold."""

DETAILS = (
    *("PatientBirthDate", "PatientSex", "PatientAge", "PatientSize", "PatientWeight", "IssuerOfPatientID"),
    *("StudyDate", "StudyTime", "StudyDescription", "PatientIdentityRemoved", "DeidentificationMethod"),
)
"""Taken over where their value keeps DICOM's rules."""

ALWAYS_THERE = (*IDENTITY, "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime")
"""Type 2 of DICOM: present, if only empty."""

METHODS = "DeidentificationMethodCodeSequence"

_ODD_VALUES = (
    r"Invalid value for VR",
    r"The value length \(\d+\) exceeds",
    r"The PersonName component length \(\d+\) exceeds",
    r"The number of PersonName components length \(\d+\) exceeds",
    r"Values? (.* is not valid )?for elements with a VR of",
    r"Expected (implicit|explicit) VR, but found",
    r"Unknown encoding",
    r"Incorrect value for Specific Character Set",
    r"Value '.*' (for Specific Character Set does not allow|cannot be used as) code extension",
    r"Failed to decode byte string",
    r"Found unknown escape sequence in encoded string value",
)


@contextmanager
def odd_values() -> Iterator[None]:
    """Keep pydicom from warning of values that break DICOM's rules.

    Files hold many of them, and nobody can do anything about it here: identifiers have to be taken over as they are,
    the rest is checked.
    """
    with warnings.catch_warnings():
        for message in _ODD_VALUES:
            warnings.filterwarnings("ignore", message, UserWarning)
        yield


def patient_and_study(header: Any) -> Any:  # noqa: ANN401  # pydicom is optional
    """The part of a header that a segmentation has in common with its images, as a data set of text."""
    from pydicom.datadict import dictionary_VR
    from pydicom.dataset import Dataset

    kept = Dataset()
    for name in ALWAYS_THERE:
        setattr(kept, name, "")
    for name in (*IDENTITY, *DETAILS):
        texts = _texts(_value(header, name))
        if texts and (name in IDENTITY or all(valid_text(dictionary_VR(name), text) for text in texts)):
            setattr(kept, name, texts if len(texts) > 1 else texts[0])
    codes = [_code(item) for item in _value(header, METHODS) or ()]
    if codes:
        setattr(kept, METHODS, codes)
    return kept


def valid_text(vr: str, text: str) -> bool:
    """Whether a text keeps the rules of its DICOM value representation and is not empty."""
    from pydicom.config import RAISE
    from pydicom.valuerep import validate_value

    try:
        validate_value(vr, text, RAISE)
    except ValueError:
        return False
    return bool(text.strip())


def _value(header: Any, name: str) -> Any:  # noqa: ANN401
    """A value as pydicom makes it of the bytes; None where it cannot."""
    try:
        return header.get(name)
    except Exception:  # noqa: BLE001  # a damaged element raises whatever its parser does; it is left out
        return None


def _texts(value: Any) -> list[str]:  # noqa: ANN401
    """The value or values of an element as text, decoded from the file's character set."""
    from pydicom.multival import MultiValue

    values = value if isinstance(value, MultiValue) else [value]
    return [str(one) for one in values if one is not None]


def _code(item: Any) -> Any:  # noqa: ANN401
    from pydicom.dataset import Dataset

    code = Dataset()
    for name in ("CodeValue", "CodingSchemeDesignator", "CodeMeaning"):
        setattr(code, name, str(item.get(name) or ""))
    return code
