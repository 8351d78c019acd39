import struct
import zlib
from fractions import Fraction
from math import floor

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from prostate_uda.data.scene_classes import (
    CITYSCAPES_VALUES,
    COLOURS,
    GTA5_VALUES,
    SYNTHIA_VALUES,
    TRAIN_VALUES,
)
from prostate_uda.data.scene_images import (
    MOST_PIXELS,
    check_same_size,
    read_scene,
    read_scene_label,
    resize_scene,
    resize_scene_label,
    scene_size,
    write_scene_colours,
    write_scene_label,
)
from prostate_uda.errors import DataError, ShapeError
from tests.data.scene_layouts import numbers, picture, save_16_bit, save_grey, save_palette, save_rgb, save_synthia

FORMATS = {
    "grey": (save_grey, CITYSCAPES_VALUES),
    "palette": (save_palette, GTA5_VALUES),
    "16-bit RGB": (save_synthia, SYNTHIA_VALUES),
    "train ids": (save_grey, TRAIN_VALUES),
}
same_folder = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)


@pytest.mark.parametrize("kind", FORMATS)
def test_every_id_is_mapped_exactly(tmp_path, kind):
    save, values = FORMATS[kind]
    raw = numbers(tuple(values), (5, 9))
    save(tmp_path / "label.png", raw)
    label = read_scene_label(tmp_path / "label.png", values)
    assert label.shape == (5, 9)
    assert label.dtype == np.uint8
    assert label.tolist() == [[values[int(value)] for value in row] for row in raw]


def test_a_palette_of_few_colors(tmp_path):
    image = Image.fromarray(numbers(range(7)))
    image.putpalette([0, 0, 0] * 7)
    image.save(tmp_path / "label.png", bits=4)
    assert (read_scene_label(tmp_path / "label.png", GTA5_VALUES).ravel()[:7] == 255).sum() == 7
    image = Image.fromarray(numbers((7, 8, 11)))
    image.putpalette([0, 0, 0] * 16)
    image.save(tmp_path / "label.png", bits=4)
    assert read_scene_label(tmp_path / "label.png", GTA5_VALUES).ravel()[:3].tolist() == [0, 1, 2]


def test_16_bit_grey(tmp_path):
    Image.fromarray(numbers((7, 26)).astype(np.uint16)).save(tmp_path / "label.png")
    assert read_scene_label(tmp_path / "label.png", CITYSCAPES_VALUES).ravel()[:2].tolist() == [0, 13]


@pytest.mark.parametrize("kind", FORMATS)
def test_an_unknown_value_is_named(tmp_path, kind):
    save, values = FORMATS[kind]
    save(tmp_path / "label.png", numbers((0, 1, 77)))
    with pytest.raises(DataError, match=r"label\.png: unknown label value 77; allowed are 0-") as error:
        read_scene_label(tmp_path / "label.png", values)
    assert "\n" not in str(error.value)


def test_a_class_beyond_8_bits_is_not_cut(tmp_path):
    channels = np.zeros((2, 2, 3), dtype=np.uint16)
    channels[0, 0, 0] = 256 + 3
    save_16_bit(tmp_path / "label.png", channels)
    with pytest.raises(DataError, match="unknown label value 259"):
        read_scene_label(tmp_path / "label.png", SYNTHIA_VALUES)


def _one_bit(path):
    Image.fromarray(numbers((0, 1)).astype(bool)).save(path)


def _transparent(path):
    Image.fromarray(picture()).convert("RGBA").save(path)


@pytest.mark.parametrize(
    ("write", "reason"),
    [
        (lambda path: save_rgb(path, picture()), "8 bits in colors"),
        (_transparent, "8 bits in colors"),
        (_one_bit, "1 bits in grey"),
        (lambda path: path.write_bytes(b""), "no PNG"),
        (lambda path: path.write_text("road", encoding="utf-8"), "no PNG"),
        (lambda path: Image.fromarray(numbers((0,))).save(path, format="JPEG"), "no PNG"),
        (lambda path: path.mkdir(), "cannot be read"),
        (lambda path: None, "does not exist"),
    ],
)
def test_what_is_no_label(tmp_path, write, reason):
    path = tmp_path / "label.png"
    write(path)
    with pytest.raises(DataError, match=reason) as error:
        read_scene_label(path, CITYSCAPES_VALUES)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("size", [(0, 5), (100_000, 100_000)])
@pytest.mark.parametrize("save", [save_grey, save_synthia])
def test_a_head_that_lies_is_not_believed(tmp_path, save, size):
    save(tmp_path / "label.png", numbers((0, 1)))
    content = bytearray((tmp_path / "label.png").read_bytes())
    content[16:24] = b"".join(side.to_bytes(4, "big") for side in size)
    (tmp_path / "label.png").write_bytes(bytes(content))
    with pytest.raises(DataError, match=r"a head of .* pixels; 1 to 89,000,000 are read"):
        read_scene_label(tmp_path / "label.png", SYNTHIA_VALUES)


@pytest.mark.parametrize("ending", ["png", "jpg"])
@pytest.mark.parametrize("size", [(9_000, 10_000), (12_000, 14_000), (30_000, 30_000)])
def test_a_picture_of_too_many_pixels_is_one_line_and_no_warning(tmp_path, ending, size, recwarn):
    """Between Pillow's warning and its refusal, too: 90, 168 and 900 million pixels."""
    path = tmp_path / f"large.{ending}"
    save_rgb(path, picture())
    content, (height, width) = path.read_bytes(), size
    if ending == "png":
        head = b"IHDR" + struct.pack(">II", width, height) + content[24:29]
        content = content[:12] + head + struct.pack(">I", zlib.crc32(head)) + content[33:]
    else:
        at = content.index(b"\xff\xc0") + 5
        content = content[:at] + struct.pack(">HH", height, width) + content[at + 4 :]
    path.write_bytes(content)
    for read in (read_scene, scene_size):
        with pytest.raises(DataError, match=f"large.{ending}: a head of {width} by {height} pixels") as error:
            read(path)
        assert "\n" not in str(error.value)
    assert not recwarn.list


def test_the_most_pixels_are_below_pillows_warning():
    assert MOST_PIXELS < Image.MAX_IMAGE_PIXELS


def test_pictures_are_png_or_jpeg(tmp_path):
    Image.fromarray(picture()).save(tmp_path / "a.png", format="BMP")
    with pytest.raises(DataError, match=r"a\.png: cannot be read as a picture \(neither PNG nor JPEG\)"):
        read_scene(tmp_path / "a.png")


def test_pictures_are_rgb(tmp_path):
    image = picture()
    save_rgb(tmp_path / "a.png", image)
    assert np.array_equal(read_scene(tmp_path / "a.png"), image)
    Image.fromarray(image).convert("RGBA").save(tmp_path / "b.png")
    assert np.array_equal(read_scene(tmp_path / "b.png"), image)
    Image.fromarray(image[..., 0]).save(tmp_path / "c.png")
    assert np.array_equal(read_scene(tmp_path / "c.png"), image[..., :1].repeat(3, axis=2))
    Image.fromarray(np.full((16, 16, 3), (200, 10, 60), dtype=np.uint8)).save(tmp_path / "d.jpg", quality=95)
    assert np.abs(read_scene(tmp_path / "d.jpg").astype(int) - (200, 10, 60)).max() <= 3
    read_scene(tmp_path / "a.png")[:] = 0  # what is read may be written to


def test_a_picture_of_16_bits_is_refused(tmp_path):
    Image.fromarray(numbers((1,)).astype(np.uint16)).save(tmp_path / "a.png")
    with pytest.raises(DataError, match="mode I;16; 8 bits per channel"):
        read_scene(tmp_path / "a.png")


def attempt(read) -> tuple[np.ndarray | None, str]:
    """What is read, or the line that says why not; any other error is the test's."""
    try:
        return read(), ""
    except DataError as error:
        return None, str(error)


@same_folder
@given(data=st.data(), kind=st.sampled_from(["grey", "palette", "16-bit RGB"]))
def test_damaged_files_are_data_errors_or_labels(tmp_path, capfd, data, kind):
    save, values = FORMATS[kind]
    path = tmp_path / "label.png"
    save(path, numbers(range(20)))
    content = bytearray(path.read_bytes())
    if data.draw(st.booleans()):
        content = content[: data.draw(st.integers(0, len(content) - 1))]
    else:
        for _ in range(data.draw(st.integers(1, 4))):
            content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(bytes(content))
    label, complaint = attempt(lambda: read_scene_label(path, values))
    if label is None:
        assert "\n" not in complaint
        assert "label.png" in complaint
    else:
        assert label.ndim == 2
        assert set(np.unique(label).tolist()) <= {*range(19), 255}
    assert capfd.readouterr() == ("", "")  # libpng would write past Python


def test_a_damaged_16_bit_label_prints_nothing(tmp_path, capfd):
    path = tmp_path / "label.png"
    save_synthia(path, numbers(range(20)))
    content = path.read_bytes()
    changed = [content[:at] + bytes([content[at] ^ 0x2A]) + content[at + 1 :] for at in range(len(content))]
    for damaged in (*changed, *(content[:length] for length in range(len(content)))):
        path.write_bytes(damaged)
        with pytest.raises(DataError, match=r"label\.png"):
            read_scene_label(path, SYNTHIA_VALUES)
    assert capfd.readouterr() == ("", "")


@same_folder
@given(cut=st.floats(0, 0.999))
def test_a_picture_cut_short_is_a_data_error(tmp_path, cut):
    path = tmp_path / "a.png"
    save_rgb(path, picture())
    content = path.read_bytes()
    path.write_bytes(content[: int(cut * len(content))])
    image, complaint = attempt(lambda: read_scene(path))
    if image is None:
        assert "a.png" in complaint
        assert "\n" not in complaint
    else:  # what is lost may be the checksum only
        assert cut > 0.7
        assert np.array_equal(image, picture())


def test_sizes_come_from_the_head(tmp_path):
    save_rgb(tmp_path / "a.png", picture(size=(4, 9)))
    save_synthia(tmp_path / "b.png", numbers((1,), (4, 9)))
    save_grey(tmp_path / "c.png", numbers((1,), (9, 4)))
    assert scene_size(tmp_path / "a.png") == scene_size(tmp_path / "b.png") == (4, 9)
    check_same_size(tmp_path / "a.png", tmp_path / "b.png")
    with pytest.raises(DataError, match=r"c\.png is 4 pixels wide and 9 high, its image .*a\.png 9 and 4"):
        check_same_size(tmp_path / "a.png", tmp_path / "c.png")


@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 40), st.integers(1, 40), st.integers(0, 2**32 - 1))
def test_resizing_keeps_labels_and_ranges(height, width, to_height, to_width, seed):
    rng = np.random.default_rng(seed)
    label = rng.choice(np.array([0, 5, 18, 255], dtype=np.uint8), (height, width))
    small = resize_scene_label(label, (to_height, to_width))
    assert small.shape == (to_height, to_width)
    for row, column in rng.integers(0, (to_height, to_width), (20, 2)).tolist():
        at_row, at_column = (
            Fraction(2 * row + 1, 2) * height / to_height,
            Fraction(2 * column + 1, 2) * width / to_width,
        )
        assert small[row, column] == label[floor(at_row), floor(at_column)]
    image = rng.integers(0, 256, (height, width, 3)).astype(np.uint8)
    resized = resize_scene(image, (to_height, to_width))
    assert resized.shape == (to_height, to_width, 3)
    assert resized.min() >= image.min()
    assert resized.max() <= image.max()


def test_shrinking_averages():
    board = np.indices((40, 40)).sum(axis=0) % 2 * np.uint8(255)
    small = resize_scene(np.repeat(board.astype(np.uint8)[..., None], 3, axis=2), (10, 10))
    assert np.abs(small.astype(int) - 128).max() < 20


def test_written_labels_read_back(tmp_path):
    label = numbers((*range(19), 255), (5, 7))
    for write in (write_scene_label, write_scene_colours):
        path = tmp_path / "new" / f"{write.__name__}.png"
        write(path, label)
        assert np.array_equal(read_scene_label(path, TRAIN_VALUES), label)
    shown = read_scene(tmp_path / "new" / "write_scene_colours.png")
    expected = np.array([*COLOURS, (0, 0, 0)])[np.where(label == 255, 19, label)]
    assert np.array_equal(shown, expected)
    assert len(list((tmp_path / "new").iterdir())) == 2


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "label.png"
    write_scene_label(path, numbers((1,)))
    before = path.read_bytes()

    def fail(self, file, **_):
        with open(file, "wb") as half:  # noqa: PTH123  what Pillow may be given
            half.write(b"half")
        raise OSError("no space left on device")

    monkeypatch.setattr(Image.Image, "save", fail)
    with pytest.raises(OSError, match="no space"):
        write_scene_label(path, numbers((2,)))
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["label.png"]


def test_what_cannot_be_written(tmp_path):
    for write in (write_scene_label, write_scene_colours):
        with pytest.raises(DataError, match=r"a label with 19; allowed are 0 to 18 and 255"):
            write(tmp_path / "a.png", numbers((19,)))
        with pytest.raises(ShapeError, match=r"int64 label of shape"):
            write(tmp_path / "a.png", numbers((1,)).astype(np.int64))
        with pytest.raises(ShapeError, match=r"shape \(6, 8, 3\)"):
            write(tmp_path / "a.png", picture())
        with pytest.raises(DataError, match=r"end the name in \.png"):
            write(tmp_path / "a.jpg", numbers((1,)))
    assert not list(tmp_path.iterdir())
