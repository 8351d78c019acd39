"""Miniatures of the published driving-scene data sets, in their own file formats."""

import struct
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

SIZE = (6, 8)
"""Height and width of a miniature's pictures."""

CITYSCAPES_NAMES = {
    "train": ("aachen_000000_000019", "aachen_000001_000019", "zurich_000000_000019"),
    "val": ("munster_000000_000019", "lindau_000000_000019"),
    "test": ("berlin_000000_000019",),
}


def picture(seed: int = 0, size: tuple[int, int] = SIZE) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (*size, 3)).astype(np.uint8)


def numbers(values: range | tuple[int, ...], size: tuple[int, int] = SIZE) -> NDArray[np.uint8]:
    """A label that shows these values one after another."""
    return np.resize(np.array(values, dtype=np.uint8), size)


def save_rgb(path: Path, image: NDArray[np.uint8]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(path)


save_grey = save_rgb


def save_palette(path: Path, label: NDArray[np.uint8]) -> None:
    """As GTA5's: the palette's colors are not the numbers."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(label)
    image.putpalette(np.random.default_rng(1).integers(0, 256, 768).astype(np.uint8).tobytes())
    image.save(path)


def save_16_bit(path: Path, channels: NDArray[np.uint16]) -> None:
    """``(H, W, 3)`` as an RGB PNG with 16 bits per channel, byte by byte after the PNG specification."""
    height, width, _ = channels.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in channels)
    parts = (
        (b"IHDR", struct.pack(">II5B", width, height, 16, 2, 0, 0, 0)),
        (b"IDAT", zlib.compress(rows)),
        (b"IEND", b""),
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + b"".join(
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
            for kind, data in parts
        )
    )


def save_synthia(path: Path, label: NDArray[np.uint8]) -> None:
    """Class in the first channel, instances (beyond 8 bits) in the second."""
    channels = np.zeros((*label.shape, 3), dtype=np.uint16)
    channels[..., 0] = label
    channels[..., 1] = 300 + np.arange(label.size).reshape(label.shape)
    save_16_bit(path, channels)


def write_gta5(root: Path, count: int = 5) -> Path:
    for number in range(1, count + 1):
        save_rgb(root / "images" / f"{number:05d}.png", picture(number))
        save_palette(root / "labels" / f"{number:05d}.png", numbers(range(35)))
    (root / "train.txt").write_text("00001.png\n", encoding="utf-8")
    return root


def write_synthia(root: Path, count: int = 5) -> Path:
    for number in range(count):
        save_rgb(root / "RGB" / f"{number:07d}.png", picture(number))
        save_synthia(root / "GT" / "LABELS" / f"{number:07d}.png", numbers(range(23)))
        save_rgb(root / "GT" / "COLOR" / f"{number:07d}.png", picture(number + 100))
    return root


def write_cityscapes(root: Path) -> Path:
    for part, names in CITYSCAPES_NAMES.items():
        for number, name in enumerate(names):
            city = name.partition("_")[0]
            save_rgb(root / "leftImg8bit" / part / city / f"{name}_leftImg8bit.png", picture(number))
            folder = root / "gtFine" / part / city
            save_grey(folder / f"{name}_gtFine_labelIds.png", numbers(range(34)))
            save_rgb(folder / f"{name}_gtFine_color.png", picture(number + 100))
            Image.fromarray(np.full(SIZE, 26001, dtype=np.uint16)).save(folder / f"{name}_gtFine_instanceIds.png")
            (folder / f"{name}_gtFine_polygons.json").write_text("{}", encoding="utf-8")
    return root
