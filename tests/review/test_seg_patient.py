"""Headers as scanners and de-identification tools leave them."""

import warnings

import pytest

from tests.review.dicom_cases import case_of, check, edit, pydicom, raw


@pytest.fixture
def case(tmp_path, make_series, voxels):
    return case_of(make_series(tmp_path / "series", voxels), tmp_path)


def test_what_de_identification_drops_is_left_empty(case):
    def strip(header):
        for name in (
            *("PatientID", "PatientName", "PatientSex", "PatientBirthDate", "AccessionNumber", "StudyID", "StudyDate"),
            *("StudyTime", "ReferringPhysicianName", "SeriesNumber", "FrameOfReferenceUID", "Manufacturer"),
            *("SliceThickness", "InstanceNumber", "SpecificCharacterSet", "PositionReferenceIndicator"),
        ):
            if name in header:
                delattr(header, name)

    edit(case.files, strip)
    plain = check(case, case.write())
    assert (plain.PatientID, plain.PatientName, plain.StudyID, plain.StudyDate) == ("", "", "", "")
    assert plain.FrameOfReferenceUID == pydicom.dcmread(case.write()).FrameOfReferenceUID
    assert float(plain.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0].SliceThickness) == pytest.approx(3)


@pytest.mark.parametrize(
    ("charset", "name"),
    [
        ("ISO_IR 100", "Müller^Jörg"),
        ("ISO_IR 144", "\u0418\u0432\u0430\u043d\u043e\u0432^\u0418\u043b\u044c\u044f"),
        ("ISO_IR 192", "Yamada^Tarou=山田^太郎=やまだ^たろう"),
        (["", "ISO 2022 IR 87"], "Yamada^Tarou=山田^太郎=やまだ^たろう"),
    ],
)
def test_names_of_any_alphabet_are_kept(case, charset, name):
    def rename(header):
        header.SpecificCharacterSet = charset
        header.PatientName = name

    edit(case.files, rename)
    plain = check(case, case.write())
    assert str(plain.PatientName) == name
    assert plain.SpecificCharacterSet == "ISO_IR 192"


def test_a_latin_name_without_its_character_set_is_read_as_latin(case):
    def rename(header):
        header.PatientName = b"M\xfcller^J\xf6rg"
        header.pop("SpecificCharacterSet", None)

    edit(case.files, rename)
    assert str(check(case, case.write()).PatientName) == "Müller^Jörg"


@pytest.mark.parametrize(
    ("tag", "vr", "value", "name", "expected"),
    [
        (0x00100030, "DA", b"unknown ", "PatientBirthDate", ""),
        (0x00080020, "DA", b"00000000", "StudyDate", ""),
        (0x00080030, "TM", b"99:99 ", "StudyTime", ""),
        (0x00100040, "CS", b"male", "PatientSex", ""),
        (0x00100040, "CS", b"U ", "PatientSex", "U"),
        (0x00101010, "AS", b"45", "PatientAge", None),
        (0x00101030, "DS", b"heavy ", "PatientWeight", None),
        (0x00100010, "PN", b"Prostate-0001 ", "PatientName", "Prostate-0001"),
        (0x00100020, "LO", b"x" * 70, "PatientID", "x" * 70),
        (0x00200010, "SH", b"a study of more than 16", "StudyID", "a study of more than 16"),
        (0x00200011, "IS", b"1.5 ", "SeriesNumber", 101),
        (0x00200011, "IS", b"-7", "SeriesNumber", 1),
        (0x00200011, "IS", b"first ", "SeriesNumber", 1),
        (0x00200011, "IS", b"2147483647", "SeriesNumber", 1),
        (0x00180050, "DS", b"thick ", "PatientID", "anonymous"),
    ],
)
def test_odd_values_stop_nothing(case, tag, vr, value, name, expected):
    for file in case.files:
        header = pydicom.dcmread(file)
        raw(header, tag, vr, value)
        pydicom.dcmwrite(file, header)
    plain = check(case, case.write())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pydicom.config.settings, "reading_validation_mode", pydicom.config.IGNORE)
        assert plain.get(name) == expected


def test_an_unknown_character_set_stops_nothing(case):
    edit(case.files, lambda header: setattr(header, "SpecificCharacterSet", "ISO_IR 100"))
    for file in case.files:
        file.write_bytes(file.read_bytes().replace(b"ISO_IR 100", b"ISO_IR 999"))
    path = case.write()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Unknown encoding")  # what the test itself reads
        assert check(case, path).PatientID == "anonymous"


def test_how_identity_was_removed_is_said_again(case):
    def removed(header):
        code = pydicom.Dataset()
        code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = "113100", "DCM", "Basic Profile"
        header.PatientIdentityRemoved, header.DeidentificationMethod = "YES", ["by hand", "by a tool"]
        header.DeidentificationMethodCodeSequence = [code]

    edit(case.files, removed)
    plain = check(case, case.write())
    assert (plain.PatientIdentityRemoved, list(plain.DeidentificationMethod)) == ("YES", ["by hand", "by a tool"])
    assert plain.DeidentificationMethodCodeSequence[0].CodeValue == "113100"
