"""Whose scan a header says it is: what counts as a trace of it, and what does not."""

import codecs
from pathlib import Path

import numpy as np
import pytest

from prostate_uda.data.identities import CODECS, NOBODY, Identity, identity_of
from tests.conftest import MakeSeries

pydicom = pytest.importorskip("pydicom")


@pytest.fixture
def identity(tmp_path: Path, make_series: MakeSeries, voxels: np.ndarray):
    """The identity of a study whose headers have these tags."""

    def of(name: str = "case", characters: str = "ISO_IR 192", **tags: str) -> Identity:
        folder = make_series(tmp_path / "study", voxels, patient="")
        for file in folder.iterdir():
            header = pydicom.dcmread(file)
            header.SpecificCharacterSet = characters
            for key, value in tags.items():
                setattr(header, key, value)
            header.save_as(file)
        return identity_of(folder, name)

    return of


@pytest.mark.parametrize(
    ("tags", "text"),
    [
        ({"PatientName": "Doe^John"}, "doe_john"),
        ({"PatientName": "Doe^John"}, "JOHN DOE, t2"),
        ({"PatientName": "Doe^John"}, "ward 3/DOE^JOHN"),
        ({"PatientName": "Miller^Ann Mary"}, "xMILLERx"),
        ({"PatientName": "Van der Berg^J"}, "berg01"),
        ({"PatientName": "Müller^Jörg"}, "muller"),
        ({"PatientName": "Müller^Jörg"}, "MUELLER"),
        ({"PatientName": "Müller^Jörg"}, "Mu\u0308ller"),
        ({"PatientName": "Müller^Jörg", "characters": "ISO_IR 100"}, "MÜLLER"),
        ({"PatientName": "Łoś^Żaneta", "characters": "ISO_IR 101"}, "żaneta"),
        ({"PatientName": "Yamada^Tarou=山田^太郎"}, "山田"),
        ({"PatientName": "Yamada^Tarou=山田^太郎"}, "yamada_1"),
        ({"PatientName": "Li^Wu"}, "li 3"),
        ({"PatientName": "Doe^J"}, "DoeJ_2019"),
        ({"PatientName": "Doe^J"}, "jdoe2"),
        ({"PatientName": "Doe^Jo"}, "doejo"),
        ({"PatientName": "Doe^Jo"}, "case-JODOE-t2"),
        ({"PatientName": "Doe^Jo Ann"}, "doe_ja"),
        ({"PatientName": "Li^Wei"}, "LIWEI"),
        ({"PatientName": "Li^Wei"}, "xweili1"),
        ({"PatientName": "Li^Wei"}, "WeiL"),
        ({"PatientName": "Li^Wei"}, "li2019"),
        ({"PatientName": "Li^W^A"}, "liwa_1"),
        ({"PatientName": "Li Wei"}, "LIWEI"),
        ({"PatientName": "Öz^Ali"}, "oezali"),
        ({"PatientName": "王^伟"}, "王伟2019"),
        ({"PatientName": "Smith^Jane\\Li^Wei"}, "LIWEI"),
        ({"PatientID": "12-34.56"}, "pat123456"),
        ({"PatientID": "123"}, "case_123"),
        ({"AccessionNumber": "A2026-77"}, "a2026_77 t2"),
        ({"PatientBirthDate": "19331122"}, "1933-11-22"),
        ({"PatientBirthDate": "19331122"}, "case 22.11.1933"),
        ({"PatientBirthDate": "19331122"}, "11_22_1933"),
        ({"PatientBirthDate": "19500203"}, "3.2.1950"),
        ({"PatientBirthDate": "19500203"}, "case 1950-2-3"),
        ({"PatientBirthDate": "19500203"}, "2_3_1950"),
        ({"PatientBirthDate": "19500203"}, "x_030250"),
        ({"PatientBirthDate": "19500203"}, "500203"),
        ({"PatientBirthDate": "19500203"}, "3.2.50"),
        ({"PatientBirthDate": "19500203"}, "03-02-50"),
        ({"StudyDescription": "MRI pelvis, Mr D"}, "mri_pelvis_mr_d"),
        ({"PatientID": "x", "OtherPatientIDs": ["one1", "two2"]}, "two2"),
    ],
)
def test_traces_are_seen_and_hidden(identity, tags: dict[str, str], text: str) -> None:
    who = identity(**tags)
    assert who.in_text(text)
    hidden = who.hidden(text)
    assert who.pseudonym in hidden
    assert not who.in_text(hidden.replace(who.pseudonym, ""))


@pytest.mark.parametrize(
    ("tags", "text"),
    [
        ({"PatientName": "Doe^John^^Mr"}, "MR t2"),  # a title
        ({"PatientName": "Li^J"}, "clinic_j"),
        ({"PatientName": "Lee^Bo"}, "sleeve about"),
        ({"PatientName": "Lee^Sam"}, "sleeve"),
        ({"PatientName": "Doe^J"}, "doejx"),
        ({"PatientName": "Li^J"}, "j_clinic"),
        ({"PatientName": "D^J"}, "dj"),
        ({"PatientName": "Li"}, "l_clinic"),
        ({"PatientID": "7"}, "case_7"),
        ({"PatientID": "123"}, "case_41234"),
        ({"PatientBirthDate": "19331122"}, "319331122"),
        ({"PatientBirthDate": "19500203"}, "3250"),
        ({"PatientBirthDate": "19500203"}, "1.2.3.2.50"),
        ({"PatientBirthDate": "19500203"}, "03.02.501"),
        ({"PatientBirthDate": "19500203"}, "1030250"),
        ({"PatientBirthDate": "19501203"}, "3.2.1950"),
        ({"StudyDescription": "Prostate"}, "prostate_12"),
        ({"PatientName": "Doe^John", "PatientIdentityRemoved": "YES"}, "doe_john"),
        ({"PatientName": "", "PatientID": "", "AccessionNumber": "^"}, "^ anything"),
        ({"PatientName": "a.*b^[x"}, "axxb"),
    ],
)
def test_others_are_let_be(identity, tags: dict[str, str], text: str) -> None:
    who = identity(**tags)
    assert not who.in_text(text)
    assert who.hidden(text) == text


def test_every_character_set_is_one_of_python_s() -> None:
    assert all(codecs.lookup(name) for name in CODECS.values())


def test_a_run_of_traces_is_hidden_as_one(identity) -> None:
    who = identity(PatientName="Doe^John", PatientID="4711")
    assert who.hidden("DOE^JOHN (4711), t2") == f"{who.pseudonym}), t2"


def test_the_pseudonym_is_that_of_study_and_name(identity) -> None:
    first, again, other = (identity(name, PatientName="Doe^John") for name in ("doe a", "doe a", "doe b"))
    assert first.pseudonym == again.pseudonym != other.pseudonym
    elsewhere = identity("doe a", PatientName="Doe^John", StudyInstanceUID="1.2.3")
    assert elsewhere.pseudonym != first.pseudonym


def test_files_and_folders_without_dicom_are_nobody_s(tmp_path: Path) -> None:
    (tmp_path / "a.nii.gz").write_bytes(b"")
    assert identity_of(tmp_path / "a.nii.gz", "a") == NOBODY
    assert identity_of(tmp_path, "a") == NOBODY


def test_where_no_header_can_be_read_the_folder_s_name_counts(tmp_path: Path) -> None:
    folder = tmp_path / "Doe John"
    folder.mkdir()
    (folder / "1.dcm").write_bytes(b"garbage")
    who = identity_of(folder, "Doe John")
    assert who.in_text("Doe John")
    assert who.hidden("Doe John: not one image") == f"{who.pseudonym}: not one image"


def test_the_first_image_that_can_be_read_tells(tmp_path: Path, make_series: MakeSeries, voxels: np.ndarray) -> None:
    folder = make_series(tmp_path / "study", voxels, patient_name="Doe^John")
    (folder / "000.dcm").write_bytes(b"garbage")
    assert identity_of(tmp_path, "x").in_text("doe")


@pytest.mark.skipif(not Path("/proc/self/mem").exists(), reason="needs a file that cannot be read, as Linux has")
def test_a_file_that_cannot_be_read_stops_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "Doe John"
    folder.mkdir()
    (folder / "image").symlink_to("/proc/self/mem")
    assert identity_of(folder, "Doe John").in_text("Doe John")
