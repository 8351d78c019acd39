"""Floor 2: one phantom case from (protocol, seed, index, size): draw everything, then do everything."""

import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prostate_uda.data.phantom.acquisition import Coil, acquire, draw_coil, draw_ghosts
from prostate_uda.data.phantom.anatomy import Anatomy, draw_anatomy
from prostate_uda.data.phantom.protocols import Matrix, Protocol, Size
from prostate_uda.data.phantom.render import IN_PLANE, Slab, gland_hull, make_slab, paint_anatomy, place
from prostate_uda.data.phantom.scan import Scan, draw_scan, reorient
from prostate_uda.data.phantom.signal import Texture, draw_texture, tissue_signals
from prostate_uda.data.phantom.tissues import Tissue
from prostate_uda.errors import SettingsError

LAYERS = {"small": 3, "full": 2}


@dataclass(frozen=True)
class PhantomCase:
    """One synthetic scan.

    Attributes:
        image: ``(X, Y, Z)`` float32, whole numbers as a scanner writes them.
        label: ``(X, Y, Z)`` uint8, 0 background, 1 peripheral zone, 2 transition zone.
        affine: ``(4, 4)`` float64, index to world (RAS) mm.
        facts: What was drawn: volumes in mL, lesions, nodules, orientation, noise.
    """

    image: NDArray[np.float32]
    label: NDArray[np.uint8]
    affine: NDArray[np.float64]
    facts: dict[str, Any]


def generators(protocol: Protocol, seed: int, index: int) -> list[np.random.Generator]:
    """Independent generators (anatomy, scan, texture, signal, acquisition) of one case and no other."""
    if seed < 0 or index < 0:
        msg = f"phantom seed and index are {seed} and {index}; both must be 0 or more"
        raise SettingsError(msg)
    root = np.random.SeedSequence([zlib.crc32(protocol.name.encode()), seed, index])
    return [np.random.default_rng(child) for child in root.spawn(5)]


def make_case(protocol: Protocol, *, seed: int, index: int, size: Size) -> PhantomCase:
    """Make a case; the same arguments give the same bits.

    Args:
        protocol: One of :data:`~prostate_uda.data.phantom.protocols.PROTOCOLS`.
        seed: Names the cohort, 0 or more.
        index: Number of the man in the cohort, 0 or more.
        size: ``"small"`` (96 × 96 × 12) or ``"full"``.

    Raises:
        SettingsError: Unknown size, negative seed or index.
    """
    matrix = protocol.matrix(size)
    for_anatomy, for_scan, for_texture, for_signal, for_acquisition = generators(protocol, seed, index)
    anatomy = draw_anatomy(for_anatomy, endorectal_coil=protocol.endorectal_coil)
    scan = draw_scan(for_scan, matrix)
    texture = draw_texture(for_texture)
    signals = tissue_signals(protocol, for_signal)
    coil = draw_coil(for_acquisition, protocol, anatomy.balloon)
    ghosts = draw_ghosts(for_acquisition, protocol, matrix.pixels)
    sigma = float(tissue_signals(protocol)[Tissue.PERIPHERAL]) / protocol.snr
    hull, *placed = place((gland_hull(anatomy.gland), *anatomy.surroundings), scan.index_to_body)
    image = np.empty((matrix.pixels, matrix.pixels, matrix.slices), dtype=np.float32)
    label = np.empty_like(image, dtype=np.uint8)
    zones = np.zeros(3, dtype=np.int64)
    for k in range(matrix.slices):
        slab = make_slab(anatomy, scan.index_to_body, matrix, k, LAYERS[size])
        paint_anatomy(slab, anatomy, placed, hull)
        still, moving = _received(slab, signals, texture, coil)
        image[..., k] = acquire(
            still, moving, pixels=matrix.pixels, protocol=protocol, ghosts=ghosts, sigma=sigma, rng=for_acquisition
        )
        label[..., k] = _majority(slab)
        zones += np.bincount(slab.zone.ravel(), minlength=3)
    scale = float(for_acquisition.uniform(700, 2200))
    sample_ml = matrix.pixel_mm**2 * matrix.slice_mm / 1000 / (IN_PLANE**2 * LAYERS[size])
    facts = _facts(protocol, anatomy, scan, matrix, [float(n) * sample_ml for n in zones[1:]])
    facts["noise_sigma"] = sigma * scale
    moved, affine = reorient((np.rint(image * np.float32(scale)), label), scan.affine, scan.orientation)
    return PhantomCase(moved[0].astype(np.float32), moved[1].astype(np.uint8), affine, facts)


def _received(
    slab: Slab, signals: NDArray[np.float32], texture: Texture, coil: Coil
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """What the coil receives from one slab: everything, and the part near the moving rectum, both ``(m, m)``."""
    signal = texture.modulate(signals[slab.tissue], slab.tissue, slab.points).mean(axis=-1)
    middle = slab.points[..., slab.points.shape[-1] // 2]
    received = signal * coil.sensitivity(middle)
    if coil.balloon is None:
        return received, received * np.clip((middle[1] - 45) / 30, 0, 1)  # the breathing belly wall
    return received, received * np.exp(-coil.distance(middle) / np.float32(6.0))


def _majority(slab: Slab) -> NDArray[np.uint8]:
    """Label of each pixel: the class that holds most of its samples, ``(pixels, pixels)``."""
    n, depth = slab.zone.shape[0] // IN_PLANE, slab.zone.shape[-1]
    counts = np.zeros((3, n, n), dtype=np.uint8)
    for i, j, k in np.ndindex(IN_PLANE, IN_PLANE, depth):
        sample = slab.zone[i::IN_PLANE, j::IN_PLANE, k]
        for zone in range(3):
            counts[zone] += sample == zone
    return np.asarray(counts.argmax(axis=0), dtype=np.uint8)


def _facts(protocol: Protocol, anatomy: Anatomy, scan: Scan, matrix: Matrix, zone_ml: list[float]) -> dict[str, Any]:
    """What a reader or a test may want to know about a case, as JSON values; volumes are those of the samples."""
    gland = anatomy.gland
    return {
        "protocol": protocol.name,
        "gland_ml": round(sum(zone_ml), 3),
        "pz_ml": round(zone_ml[0], 3),
        "tz_ml": round(zone_ml[1], 3),
        "nodules": len(gland.nodules),
        "lesions": len(gland.lesions),
        "rectum": anatomy.filling,
        "orientation": scan.orientation,
        "oblique_degrees": [round(angle, 3) for angle in scan.angles],
        "spacing_mm": [matrix.pixel_mm, matrix.pixel_mm, matrix.slice_mm],
    }
