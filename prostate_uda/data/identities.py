"""Floor 2: whose scan a DICOM header says it is, and texts without it.

A folder that comes from a PACS is often named after its patient, and so are the results made of it. What a header says
of patient and visit is looked for in such texts as it stands there, in any case, with and without accents.
"""

import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import SimpleITK as sitk

from prostate_uda.data.dicom import dicom_folders, is_dicom, quiet

STUDY_UID, CHARACTERS, IDENTITY_REMOVED = "0020|000d", "0008|0005", "0012|0062"
NAMES = ("0010|0010", "0010|1001", "0010|1005", "0010|1060")
"""PatientName, OtherPatientNames, PatientBirthName, PatientMotherBirthName."""
IDS = ("0010|0020", "0010|1000", "0008|0050")
"""PatientID, OtherPatientIDs, AccessionNumber."""
BIRTH_DATE, STUDY_DESCRIPTION = "0010|0030", "0008|1030"
TAGS = (STUDY_UID, CHARACTERS, IDENTITY_REMOVED, *NAMES, *IDS, BIRTH_DATE, STUDY_DESCRIPTION)

CODECS = {
    "ISO_IR 101": "iso8859_2",
    "ISO_IR 109": "iso8859_3",
    "ISO_IR 110": "iso8859_4",
    "ISO_IR 144": "iso8859_5",
    "ISO_IR 127": "iso8859_6",
    "ISO_IR 126": "iso8859_7",
    "ISO_IR 138": "iso8859_8",
    "ISO_IR 148": "iso8859_9",
    "ISO_IR 203": "iso8859_15",
    "ISO_IR 166": "tis_620",
    "GB18030": "gb18030",
    "GBK": "gbk",
}
"""SpecificCharacterSet to Python's name; any other is read as UTF-8, else as Latin-1."""

ANYWHERE = 4
"""Letters and digits from which on a word also counts within a longer one."""
WORD = r"[^\W_]"
"""A letter or digit, which a short word has none of beside it."""
LETTER = r"[^\W\d_]"
"""Likewise of a short name, which a number may follow."""
UMLAUTS = str.maketrans({"ä": "ae", "ö": "oe", "ü": "ue", "Ä": "Ae", "Ö": "Oe", "Ü": "Ue", "ß": "ss"})


@dataclass(frozen=True)
class Identity:
    """What tells whose scan it is.

    Args:
        words: Matches what the header says of the patient and the visit; None where it says nothing.
        pseudonym: What stands in its place.
    """

    words: re.Pattern[str] | None = None
    pseudonym: str = ""

    def in_text(self, text: str) -> bool:
        """Whether a text tells whose scan it is."""
        return self.words is not None and self.words.search(text) is not None

    def hidden(self, text: str) -> str:
        """The text with the pseudonym in place of each run of such words."""
        return text if self.words is None else self.words.sub(self.pseudonym, text)


NOBODY = Identity()
"""Of a file that is no DICOM, and of images whose header says that the identity was removed."""


def identity_of(image: Path, name: str) -> Identity:
    """Whose scan a DICOM folder is, as the first readable image of each folder in it says.

    Where no header can be read, the folder's own name counts as the patient's. A header with PatientIdentityRemoved YES
    (0012,0062), as public collections have it, tells of nobody.

    Args:
        image: The folder; of a file, it is :data:`NOBODY`'s.
        name: What the scan is called; scans of one study get different pseudonyms by it.
    """
    if not image.is_dir():
        return NOBODY
    headers = _headers(image)
    if headers is None:
        return NOBODY
    study = next((header[STUDY_UID] for header in headers if header.get(STUDY_UID)), "")
    pseudonym = f"scan-{sha256(f'{study}/{name}'.encode(errors='surrogateescape')).hexdigest()[:10]}"
    found = {word for header in headers for word in _words(header)}
    if not headers:
        found = {_phrase(image.resolve().name), _phrase(name)}
    found.discard("")
    if not found:
        return NOBODY
    either = "|".join(sorted(found, key=len, reverse=True))
    return Identity(re.compile(rf"(?:{either})(?:[\W_]*(?:{either}))*", re.IGNORECASE), pseudonym)


def _headers(image: Path) -> list[dict[str, str]] | None:
    """A header of each folder with images; empty where none can be read, None where there is no DICOM."""
    try:
        with quiet():
            folders = dicom_folders(image)
            return [header for header in map(_header, folders) if header] if folders else None
    except OSError:  # a damaged disk, or no right to read; reading the scan tells
        return []


def _header(folder: Path) -> dict[str, str]:
    """The tags of the first image right in a folder that has them; empty where none has."""
    for file in sorted(folder.iterdir()):
        if not is_dicom(file):
            continue
        reader = sitk.ImageFileReader()
        reader.SetFileName(str(file))
        try:
            reader.ReadImageInformation()
        except RuntimeError:
            continue
        read = {key: reader.GetMetaData(key) for key in TAGS if reader.HasMetaDataKey(key)}
        if read:
            return {key: _decoded(value, read.get(CHARACTERS, "")) for key, value in read.items()}
    return {}


def _decoded(value: str, characters: str) -> str:
    """Text of the bytes that ITK took for UTF-8."""
    content = value.encode(errors="surrogateescape")
    named = characters.split("\\")[0].strip().replace("ISO 2022 IR", "ISO_IR")
    for codec in ("utf-8", CODECS.get(named, "latin_1"), "latin_1"):
        with suppress(UnicodeDecodeError):
            return unicodedata.normalize("NFC", content.decode(codec)).strip(" \0")
    return ""  # Latin-1 takes any byte


def _words(header: Mapping[str, str]) -> Iterator[str]:
    """Regular expressions of what a header says of patient and visit."""
    if header.get(IDENTITY_REMOVED, "").upper() == "YES":
        return
    for key in NAMES:
        for person in re.split(r"[\\=]", header.get(key, "")):
            for word in re.split(r"[\W_]+", " ".join(person.split("^")[:3])):  # a prefix and a suffix are titles
                yield _phrase(word, LETTER)
            yield from _together(person.split("^")[:3])
    for key in IDS:
        for word in header.get(key, "").split("\\"):
            yield "" if word.isdigit() and len(word) < ANYWHERE - 1 else _phrase(word)
    yield _date(header.get(BIRTH_DATE, ""))
    description = header.get(STUDY_DESCRIPTION, "")
    yield _phrase(description) if len(re.findall(r"[^\W_]+", description)) > 1 else ""  # "Prostate" tells of nobody


def _together(person: Sequence[str]) -> Iterator[str]:
    """Regular expressions of family and given names as one word in both orders, either of them whole or its initials.

    Args:
        person: Family, given and middle names; of a name in one piece, its first word counts as the family's.
    """
    family, given, middle = (re.findall(f"{WORD}+", part) for part in (*person, "", "", "")[:3])
    if not given:
        family, given = family[:1], family[1:]
    if not (family and given):
        return
    first, every, initials = given[:1], given + middle, [word[0] for word in given + middle]
    pairs = [(family, some) for some in (first, given, every, initials[:1], initials)]
    for one, other in (*pairs, ([family[0][0]], first)):
        for words in (one + other, other + one):
            text = " ".join(words)
            if max(map(len, words)) > 1 or not text.isascii():
                yield _phrase(text, LETTER, within=min(map(len, words)) > 1)


def _phrase(text: str, edge: str = WORD, *, within: bool = True) -> str:
    """Matches a text whatever stands between its words, with its accents and without; empty for a single letter.

    Args:
        text: Some words.
        edge: What a short text must not have beside it.
        within: Whether a long one may.
    """
    apart = unicodedata.normalize("NFD", text)
    bare = "".join(letter for letter in apart if not unicodedata.combining(letter))
    spelled = {one for way in (text, apart, bare, text.translate(UMLAUTS)) for one in _joined(way, edge, within)}
    return "|".join(sorted(spelled, key=len, reverse=True))


def _joined(text: str, edge: str, within: bool) -> tuple[str, ...]:
    """Matches the words of a text with any marks between them; a short text only where no longer word holds it."""
    words = re.findall(f"{WORD}+", text)
    letters = sum(map(len, words))
    if letters < 1 + text.isascii():
        return ()
    joined = r"[\W_]*".join(map(re.escape, words))
    return (joined if within and letters >= ANYWHERE else f"(?<!{edge}){joined}(?!{edge})",)


def _date(text: str) -> str:
    """Matches YYYYMMDD in any usual order, with or without marks, zeros before a day or month, and its century.

    Where zeros are missing, marks are needed; without a century, a longer row of numbers, as a UID is one, is no date.
    """
    found = re.fullmatch(r"(\d{4})[.-]?(\d\d)[.-]?(\d\d)", text)
    if found is None:
        return ""
    year, month, day = found.groups()
    forms = []
    for edge, said in (("{}", year), (r"(?<!\d[.]){}(?![.]\d)", year[2:])):
        for mark, parts in ((r"[\W_]?", (month, day)), (r"[\W_]", (_bare(month), _bare(day)))):
            orders = ((said, *parts), (*reversed(parts), said), (*parts, said))
            forms += [edge.format(mark.join(order)) for order in orders]
    return rf"(?<!\d)(?:{'|'.join(forms)})(?!\d)"


def _bare(number: str) -> str:
    """Matches a number of two digits with a zero before it and without."""
    return re.sub("^0", "0?", number)
