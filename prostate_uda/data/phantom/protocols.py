"""Floor 2: how the two phantom scanners measure; settings only."""

from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal, TypeAlias

from prostate_uda.errors import SettingsError

Size: TypeAlias = Literal["small", "full"]


@dataclass(frozen=True)
class Matrix:
    """The grid of one size: square in plane, ``slices`` along the body.

    Attributes:
        pixels: Reconstructed pixels along each in-plane axis.
        field_of_view_mm: Length of each in-plane side.
        slices: Number of slices.
        slice_mm: Distance between slice centres.
        thickness_mm: What one slice averages over; less than ``slice_mm`` leaves a gap.
    """

    pixels: int
    field_of_view_mm: float
    slices: int
    slice_mm: float
    thickness_mm: float

    @property
    def pixel_mm(self) -> float:
        """In-plane pixel size."""
        return self.field_of_view_mm / self.pixels


@dataclass(frozen=True)
class Protocol:
    """One scanner and its axial T2-weighted sequence.

    Attributes:
        name: Registry name.
        field_tesla: Static field.
        tr_ms: Repetition time.
        te_ms: Effective echo time.
        endorectal_coil: Air-filled balloon coil in the rectum; otherwise a phased array around the body.
        snr: Signal of the mean peripheral zone at unit coil sensitivity over the standard deviation of the noise in
            each of the two quadrature channels of a fully sampled image.
        bias: Amplitude of the smooth brightness variation of the array coil.
        ghost: Amplitude of the modulation of moving parts from one phase-encoding line to the next.
        acquired: Fraction of k-space lines acquired along (frequency, phase); the rest is zero-filled.
        matrices: The grid of each size.
    """

    name: str
    field_tesla: float
    tr_ms: float
    te_ms: float
    endorectal_coil: bool
    snr: float
    bias: float
    ghost: float
    acquired: tuple[float, float]
    matrices: MappingProxyType[str, Matrix]

    def matrix(self, size: str) -> Matrix:
        """The grid for ``"small"`` or ``"full"``.

        Raises:
            SettingsError: ``size`` is neither.
        """
        if size not in self.matrices:
            msg = f"phantom size is {size!r}; choose one of: {', '.join(self.matrices)}"
            raise SettingsError(msg)
        return self.matrices[size]


PROTOCOLS: dict[str, Protocol] = {
    protocol.name: protocol
    for protocol in (
        Protocol(
            name="phantom-3t",
            field_tesla=3.0,
            tr_ms=5000.0,
            te_ms=101.0,
            endorectal_coil=False,
            snr=28.0,
            bias=0.15,
            ghost=0.03,
            acquired=(1.0, 0.85),
            matrices=MappingProxyType(
                {"small": Matrix(96, 144.0, 12, 5.5, 5.0), "full": Matrix(320, 192.0, 22, 3.0, 3.0)}
            ),
        ),
        Protocol(
            name="phantom-1.5t",
            field_tesla=1.5,
            tr_ms=3500.0,
            te_ms=120.0,
            endorectal_coil=True,
            snr=14.0,
            bias=0.10,
            ghost=0.30,
            acquired=(0.9, 0.70),
            matrices=MappingProxyType(
                {"small": Matrix(96, 132.0, 12, 5.5, 4.5), "full": Matrix(256, 140.0, 22, 3.0, 3.0)}
            ),
        ),
    )
}
