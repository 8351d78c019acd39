"""Pictures of streets, and their labels, that nobody can use: each stops ``adapt`` before it writes or trains."""

import re
import shutil
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from prostate_uda.data.domains import StreetsSettings
from prostate_uda.data.domains.streets import STREETS_RENDER
from tests.hostile.conftest import Command
from tests.recipes.scenes.conftest import STREETS

SIZE = (384, 192)
"""Width and height of a generated picture."""
Spoil = Callable[[Path], object]


def cut(path: Path) -> None:
    """Within the pixels: the head is whole."""
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def flipped(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(bytes(content))


def wide(path: Path) -> None:
    """A head of 100 million pixels: Pillow would warn of it and read on."""
    content = path.read_bytes()
    head = b"IHDR" + struct.pack(">II", 10_000, 10_000) + content[24:29]
    path.write_bytes(content[:12] + head + struct.pack(">I", zlib.crc32(head)) + content[33:])


def written(mode: str, value: int, size: tuple[int, int] = SIZE) -> Spoil:
    return lambda path: Image.new(mode, size, value).save(path)


def with_a_value(path: Path) -> None:
    """One pixel of 40, below the ids that Cityscapes knows."""
    label = np.array(Image.open(path))
    label[-1, -1] = 40
    Image.fromarray(label).save(path)


PICTURES: dict[str, tuple[Spoil, str]] = {
    "cut": (cut, "cannot be read as a picture .*copy it again"),
    "flipped": (flipped, "cannot be read as a picture .*copy it again"),
    "empty": (lambda path: path.write_bytes(b""), r"neither PNG nor JPEG\); copy it again"),
    "page": (lambda path: path.write_text("<html>", encoding="utf-8"), r"neither PNG nor JPEG\); copy it again"),
    "wide": (wide, "a head of 10000 by 10000 pixels; 1 to 89,000,000 are read"),
    "deep": (written("I;16", 7), "a picture of mode I;16; 8 bits per channel"),
    "size": (written("RGB", 0, (380, 192)), "is 384 pixels wide and 192 high, its image .* 380 and 192"),
}
LABELS: dict[str, tuple[Spoil, str]] = {
    "cut": (cut, "cannot be read as a picture .*copy it again"),
    "flipped": (flipped, "cannot be read as a picture .*copy it again"),
    "page": (lambda path: path.write_text("<html>", encoding="utf-8"), "cannot be read|no PNG"),
    "wide": (wide, "a head of 10000 by 10000 pixels; 1 to 89,000,000 are read"),
    "value": (with_a_value, "unknown label value 40; allowed are 0-33, 255"),
    "colors": (written("RGB", 7), "8 bits in colors; a label holds class numbers"),
    "size": (written("L", 7, (384, 190)), "is 384 pixels wide and 190 high, its image .* 384 and 192"),
}


@pytest.fixture(scope="module")
def streets_of_all(cache: Path) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PROSTATE_UDA_CACHE", str(cache))
        numbers = StreetsSettings(train=STREETS["phantom_train"], test=STREETS["phantom_test"])
        return STREETS_RENDER.configured(numbers).generate()


@pytest.fixture
def streets(streets_of_all: Path, tmp_path: Path) -> Path:
    """A copy, to be spoiled."""
    return Path(shutil.copytree(streets_of_all, tmp_path / "streets"))


def flags(**changes: object) -> list[str]:
    return [f"--{name.replace('_', '-')}={value}" for name, value in {**STREETS, **changes}.items()]


def last(root: Path, end: str, part: str = "train") -> Path:
    """The last of a part's files, which none of the first ones betrays."""
    return sorted(root.glob(f"*/{part}/**/*{end}"))[-1]


@pytest.mark.parametrize("name", PICTURES)
def test_a_picture_to_learn_from(streets: Path, tmp_path: Path, command: Command, name: str) -> None:
    spoil, message = PICTURES[name]
    spoil(victim := last(streets, "_leftImg8bit.png"))
    told = command("adapt", *flags(source_root=streets), f"--out={tmp_path / 'run'}").complaint
    assert re.search(message, told), told
    assert str(victim) in told
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("name", LABELS)
def test_a_label_to_learn_from(streets: Path, tmp_path: Path, command: Command, name: str) -> None:
    spoil, message = LABELS[name]
    spoil(victim := last(streets, "_labelIds.png"))
    told = command("adapt", *flags(source_root=streets), f"--out={tmp_path / 'run'}").complaint
    assert re.search(message, told), told
    assert str(victim) in told
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("name", ["cut", "deep"])
@pytest.mark.parametrize("part", ["train", "val"])
def test_a_picture_of_the_target(streets: Path, tmp_path: Path, command: Command, name: str, part: str) -> None:
    spoil, message = PICTURES[name]
    spoil(victim := last(streets, "_leftImg8bit.png", part))
    roots = {"source": "streets-photo", "target": "streets-render", "target_root": streets}
    told = command("adapt", *flags(**roots), f"--out={tmp_path / 'run'}").complaint
    assert re.search(message, told), told
    assert str(victim) in told
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("part", ["train", "val"])
@pytest.mark.parametrize("end", ["_leftImg8bit.png", "_labelIds.png"])
def test_a_frame_that_is_there_twice(streets: Path, tmp_path: Path, command: Command, part: str, end: str) -> None:
    once = last(streets, end, part)
    twice = once.parent.parent / "copy" / once.name
    twice.parent.mkdir()
    shutil.copy(once, twice)
    told = command("adapt", *flags(source_root=streets), f"--out={tmp_path / 'run'}").complaint
    assert "are both of frame" in told
    assert str(twice) in told
    assert str(once) in told
    assert not (tmp_path / "run").exists()


def test_labels_that_name_no_class(streets: Path, tmp_path: Path, command: Command) -> None:
    for path in streets.glob("*/train/**/*_labelIds.png"):
        written("L", 0)(path)
    told = command("adapt", *flags(source_root=streets), f"--out={tmp_path / 'run'}").complaint
    assert re.search("none of the source's 3 labels to learn from names a class; is it this data set", told)
    assert not (tmp_path / "run").exists()


def test_one_label_that_names_no_class_is_a_label(streets: Path, tmp_path: Path, command: Command) -> None:
    written("L", 0)(last(streets, "_labelIds.png"))
    done = command("adapt", *flags(source_root=streets), f"--out={tmp_path / 'run'}")
    assert done.code == 0, done
