import re

from prostate_uda.review.itksnap import write_label_descriptions
from prostate_uda.review.segments import PERIPHERAL_ZONE, TRANSITION_ZONE


def read_as_itksnap(text: str) -> dict[int, tuple[tuple[int, ...], float, tuple[bool, bool], str]]:
    """As ColorLabelTable::LoadFromFile: skip comments, seven numbers, then the text between quotation marks."""
    labels = {}
    for line in text.splitlines():
        if not line or line.startswith("#"):
            continue
        *numbers, rest = line.split(maxsplit=7)
        index, red, green, blue, alpha, visible, mesh = (float(number) for number in numbers)
        name = re.match(r'[^"]*"([^"]*)', rest)
        labels[int(index)] = ((int(red), int(green), int(blue)), alpha, (visible != 0, mesh != 0), name.group(1))
    return labels


def test_values_have_names_and_colors(tmp_path):
    path = tmp_path / "new" / "labels.txt"
    write_label_descriptions(path)
    text = path.read_text(encoding="utf-8")
    assert text.splitlines()[1] == "# ITK-SnAP Label Description File"
    assert read_as_itksnap(text) == {
        0: ((0, 0, 0), 0.0, (False, False), "Clear Label"),
        1: (PERIPHERAL_ZONE.color, 1.0, (True, True), "Peripheral zone"),
        2: (TRANSITION_ZONE.color, 1.0, (True, True), "Transition zone"),
    }
    assert [one.name for one in path.parent.iterdir()] == ["labels.txt"]


def test_an_old_file_is_replaced(tmp_path):
    path = tmp_path / "labels.txt"
    path.write_text("old", encoding="utf-8")
    write_label_descriptions(path)
    assert path.read_text(encoding="utf-8").startswith("####")
