"""Floor 2: driving scenes and their labels from and to picture files.

A picture is ``(H, W, 3)`` uint8 RGB, a label ``(H, W)`` uint8 with train ids and IGNORE. What is wrong with a file is a
DataError of one line. Pillow reads everything but PNG with 16 bits per channel in colour, which it cuts to 8: SYNTHIA's
labels go through SimpleITK.
"""

import struct
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile

from prostate_uda.data.dicom import itk_reason
from prostate_uda.data.files import whole
from prostate_uda.data.scene_classes import COLOURS, SCENE_CLASSES
from prostate_uda.errors import DataError, ShapeError
from prostate_uda.maths.losses import IGNORE

SCENE_SUFFIXES = (".png", ".jpg", ".jpeg")
"""File name endings of pictures; labels are PNG."""

MOST_PIXELS = 89_000_000
"""More are taken for a damaged head of the file, where Pillow begins to warn; a Cityscapes picture has 2 million."""

PNG_HEAD = struct.Struct(">8s8xII2B")
"""Of a PNG: signature, width, height, bits per channel, kind of color."""
PNG_SIGNATURE, JPEG_SIGNATURE = b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"
GREY, COLOUR, PALETTE = 0, 2, 3

PICTURE_MODES = ("RGB", "RGBA", "L", "P")
DAMAGE = (OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error)
"""What Pillow raises over a file that is no picture, or half of one."""


def read_scene(path: Path) -> NDArray[np.uint8]:
    """Read a picture.

    Args:
        path: PNG or JPEG with 8 bits per channel.

    Returns:
        ``(H, W, 3)`` uint8, RGB; a channel of transparency is left out.

    Raises:
        DataError: The file is missing, damaged, of another kind, or claims more than :data:`MOST_PIXELS`.
    """
    with _opened(path) as image:
        if image.mode not in PICTURE_MODES:
            raise DataError(f"{path}: a picture of mode {image.mode}; 8 bits per channel in color or grey are needed")
        image.load()
        return np.array(image.convert("RGB"), dtype=np.uint8)


def read_scene_label(path: Path, values: Mapping[int, int]) -> NDArray[np.uint8]:
    """Read a label and translate its values.

    Args:
        path: PNG: grey with 8 or 16 bits, with a palette (the place in it counts), or RGB with 16 bits per channel,
            whose first channel is the class.
        values: File value to train id or IGNORE, total: a value that is not a key is an error.

    Returns:
        ``(H, W)`` uint8, train ids and IGNORE.

    Raises:
        DataError: The file is missing, damaged, of another kind, or holds a value that is not in ``values``.
    """
    raw = _numbers(path)
    present = np.flatnonzero(np.bincount(raw.ravel()))
    unknown = [int(value) for value in present if int(value) not in values]
    if unknown:
        listed = ", ".join(str(value) for value in unknown[:6]) + (", ..." if len(unknown) > 6 else "")
        raise DataError(f"{path}: unknown label value {listed}; allowed are {_ranges(values)}: is it this data set's?")
    table = np.zeros(int(present[-1]) + 1, dtype=np.uint8)
    for value in present:
        table[value] = values[int(value)]
    return np.asarray(table[raw], dtype=np.uint8)


def scene_size(path: Path) -> tuple[int, int]:
    """Height and width of a picture or label, from the head of its file.

    Raises:
        DataError: The file is missing or no picture.
    """
    with _opened(path) as image:
        width, height = image.size
    return height, width


def check_same_size(image: Path, label: Path) -> None:
    """Check that a label has the size of its picture, from the heads of the files.

    Raises:
        DataError: It does not, or a file cannot be read.
    """
    of_image, of_label = scene_size(image), scene_size(label)
    if of_image != of_label:
        raise DataError(
            f"{label} is {of_label[1]} pixels wide and {of_label[0]} high, its image {image} {of_image[1]} and "
            f"{of_image[0]}; they must agree: mend the pair, or take it out of the folder"
        )


def resize_scene(image: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """A picture in another size, bilinear with antialiasing, in whole numbers: the same on every machine.

    Args:
        image: ``(H, W, 3)`` uint8.
        size: Height and width that are wanted.
    """
    if image.shape[:2] == size:
        return image
    return np.array(Image.fromarray(image).resize(size[::-1], Image.Resampling.BILINEAR), dtype=np.uint8)


def resize_scene_label(label: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """A label ``(H, W)`` uint8 in another size: each pixel is the one that its center falls into."""
    if label.shape == size:
        return label
    rows, columns = ((2 * np.arange(new) + 1) * old // (2 * new) for old, new in zip(label.shape, size, strict=True))
    return np.asarray(label[rows[:, None], columns], dtype=np.uint8)


def write_scene_label(path: Path, label: NDArray[np.uint8]) -> None:
    """Write train ids as an 8-bit grey PNG, atomically.

    Args:
        path: Ends in ``.png``; its folder is made where it is missing.
        label: ``(H, W)`` uint8, train ids and IGNORE.

    Raises:
        ShapeError: Another shape or type.
        DataError: A value that is no train id, or another ending.
    """
    _check_label(label)
    _write(path, Image.fromarray(np.ascontiguousarray(label)))


def write_scene_colours(path: Path, label: NDArray[np.uint8]) -> None:
    """Write a label in Cityscapes' colors, IGNORE in black, atomically.

    The PNG has a palette and its numbers are the train ids, so it can be read as a label, too.

    Args:
        path: Ends in ``.png``; its folder is made where it is missing.
        label: ``(H, W)`` uint8, train ids and IGNORE.

    Raises:
        ShapeError: Another shape or type.
        DataError: A value that is no train id, or another ending.
    """
    _check_label(label)
    palette = np.zeros((256, 3), dtype=np.uint8)
    palette[: len(COLOURS)] = COLOURS
    picture = Image.fromarray(np.ascontiguousarray(label))
    picture.putpalette(palette.tobytes())
    _write(path, picture)


def _numbers(path: Path) -> NDArray[np.uint16]:
    """What a label file holds in its pixels, ``(H, W)``."""
    bits, kind = _png_kind(path)
    if (bits, kind) == (16, COLOUR):
        return _first_channel(path)
    if kind == PALETTE or (kind == GREY and bits in (8, 16)):
        with _opened(path) as image:
            image.load()
            return np.array(image, dtype=np.uint16)
    raise DataError(
        f"{path}: a PNG of {bits} bits in {'colors' if kind not in (GREY, PALETTE) else 'grey'}; a label holds class "
        "numbers: 8-bit grey, a palette, or SYNTHIA's 16-bit RGB; a picture of colors is none"
    )


def _png_kind(path: Path) -> tuple[int, int]:
    """Bits per channel and kind of color of a PNG, by its head."""
    try:
        with path.open("rb") as file:
            head = file.read(PNG_HEAD.size)
    except OSError as error:
        raise DataError(_unreadable(path, error)) from error
    if len(head) < PNG_HEAD.size or not head.startswith(PNG_SIGNATURE):
        raise DataError(f"{path}: no PNG, or one cut short; labels are PNG files: copy it again")
    _, width, height, bits, kind = PNG_HEAD.unpack(head)
    _check_pixels(path, (width, height))
    return bits, kind


def _check_pixels(path: Path, size: tuple[int, int]) -> None:
    width, height = size
    if not 0 < width * height <= MOST_PIXELS:
        raise DataError(
            f"{path}: a head of {width} by {height} pixels; 1 to {MOST_PIXELS:,} are read: copy it again, or make it "
            "smaller"
        )


def _first_channel(path: Path) -> NDArray[np.uint16]:
    """The class channel of an RGB PNG with 16 bits; a damaged file is found first, since libpng would print over it."""
    with _opened(path) as picture:
        picture.verify()
    try:
        image = sitk.ReadImage(str(path))
    except RuntimeError as error:
        raise DataError(f"{path}: {itk_reason(error)}; copy it again") from error
    return np.array(sitk.GetArrayViewFromImage(image)[..., 0], dtype=np.uint16)


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    """A picture whose pixels are not read yet; what goes wrong within is a DataError.

    Not by ``Image.open``, which prints a warning over a large one and reads it all the same.
    """
    try:
        with path.open("rb") as file:
            head = file.read(len(PNG_SIGNATURE))
        if head != PNG_SIGNATURE and not head.startswith(JPEG_SIGNATURE):
            raise OSError("neither PNG nor JPEG")
        with PngImageFile(path) if head == PNG_SIGNATURE else JpegImageFile(path) as image:
            _check_pixels(path, image.size)
            yield image
    except DAMAGE as error:
        raise DataError(_unreadable(path, error)) from error


def _unreadable(path: Path, error: Exception) -> str:
    if not path.exists():
        return f"{path} does not exist; check the path"
    reason = " ".join(str(error).split()) or type(error).__name__
    return f"{path}: cannot be read as a picture ({reason}); copy it again"


def _check_label(label: NDArray[np.uint8]) -> None:
    if label.ndim != 2 or label.dtype != np.uint8 or not label.size:
        raise ShapeError(f"a {label.dtype} label of shape {label.shape}; uint8 of shape (H, W) is needed")
    wrong = label[(label >= len(SCENE_CLASSES)) & (label != IGNORE)]
    if wrong.size:
        raise DataError(f"a label with {int(wrong[0])}; allowed are 0 to {len(SCENE_CLASSES) - 1} and {IGNORE}")


def _ranges(values: Mapping[int, int]) -> str:
    """``"0-33, 255"``."""
    runs: list[list[int]] = []
    for value in sorted(values):
        if runs and value == runs[-1][1] + 1:
            runs[-1][1] = value
        else:
            runs.append([value, value])
    return ", ".join(f"{first}-{last}" if first != last else str(first) for first, last in runs)


def _write(path: Path, picture: Image.Image) -> None:
    """Write beside the final name first: a killed run leaves the old file or the new one, never half of one."""
    if path.suffix.lower() != ".png":
        raise DataError(f"{path}: labels are written as PNG; end the name in .png")
    with whole(path, ".png") as temporary:
        picture.save(temporary, format="PNG")
