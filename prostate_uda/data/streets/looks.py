"""Floor 2: the two looks of a street; settings only. Pairs of numbers are the ends of a uniform draw."""

from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal, TypeAlias

from prostate_uda.data.streets.faces import Colour
from prostate_uda.errors import SettingsError

Size: TypeAlias = Literal["small", "full"]
Range: TypeAlias = tuple[float, float]

SHAPES: MappingProxyType[str, tuple[int, int]] = MappingProxyType({"small": (192, 384), "full": (512, 1024)})
"""Rows and columns of the pictures of each size."""


@dataclass(frozen=True)
class Habits:
    """How a town is built and what goes on in it.

    Attributes:
        road: Half the width of the road, metres.
        sidewalk: Width, metres.
        bend: Sideways shift of the road per squared metre ahead, the same to both sides.
        storeys: Height of buildings, floors of 3.1 m.
        garden: Chance that a plot is a garden behind a wall or a fence instead of a building.
        verge: Chance of a grass verge along a side.
        railing: Chance of a low fence at a kerb.
        trees: Chance that a tree stands at one of its places.
        people: Most people on the sidewalks.
        parked: Chance of a car at a parking place.
        large: Chances of a truck, a bus and a tram.
        two_wheels: Chances of a cyclist, a motorcycle and parked bicycles.
        dressed: How strongly a storey differs from the next in colour and windows, 0 to 1.
    """

    road: Range
    sidewalk: Range
    bend: float
    storeys: Range
    garden: float
    verge: float
    railing: float
    trees: float
    people: int
    parked: float
    large: tuple[float, float, float]
    two_wheels: tuple[float, float, float]
    dressed: float


@dataclass(frozen=True)
class Palette:
    """Colours things are drawn from."""

    facades: tuple[Colour, ...]
    roofs: tuple[Colour, ...]
    walls: tuple[Colour, ...]
    fences: tuple[Colour, ...]
    leaves: tuple[Colour, ...]
    grass: tuple[Colour, ...]
    asphalt: Colour
    pavement: Colour
    poles: tuple[Colour, ...]
    cars: tuple[Colour, ...]
    large: tuple[Colour, ...]
    clothes: tuple[Colour, ...]


@dataclass(frozen=True)
class Weather:
    """Light and air.

    Attributes:
        elevation: Of the sun, degrees.
        sun: Colour of its light.
        ambient: Colour of the light from everywhere.
        shadow: Share of the sun's light that a shadow takes.
        softness: Blur of the shadows' edges, metres.
        zenith: Colour of the sky above.
        horizon: Colour of the sky at the horizon, and of haze.
        clouds: Cover, 0 to 1.
        haze: Extinction per metre.
        texture: Strength of the roughness of surfaces, 0 to 1.
    """

    elevation: Range
    sun: Colour
    ambient: Colour
    shadow: float
    softness: float
    zenith: Colour
    horizon: Colour
    clouds: Range
    haze: Range
    texture: float


@dataclass(frozen=True)
class Sensor:
    """The camera and what it does to light.

    Attributes:
        height: Above the road, metres.
        pitch: Down, degrees.
        yaw: To either side, degrees.
        focal: Per picture width.
        exposure: Gain, powers of two.
        white: Gain of each channel.
        contrast: Exponent of the tone curve; over 1 darkens.
        saturation: 1 leaves colours as they are.
        blur: Standard deviation in pixels of a picture 384 wide; larger pictures are sharper for their size.
        noise: Standard deviation at mid grey, 0 to 1.
        vignette: Loss of light in the corners, 0 to 1.
        quality: Of the JPEG file that the camera writes; None writes none.
        hood: Whether the bottom of the picture may show the car's own hood.
    """

    height: Range
    pitch: Range
    yaw: float
    focal: Range
    exposure: Range
    white: Colour
    contrast: Range
    saturation: Range
    blur: Range
    noise: float
    vignette: float
    quality: tuple[int, int] | None
    hood: bool


@dataclass(frozen=True)
class Look:
    """One domain of streets.

    Attributes:
        name: Registry name.
        habits: The town.
        palette: Its colours.
        weather: Its light.
        sensor: The camera.
    """

    name: str
    habits: Habits
    palette: Palette
    weather: Weather
    sensor: Sensor


def shape_of(size: str) -> tuple[int, int]:
    """Rows and columns of ``"small"`` or ``"full"`` pictures.

    Raises:
        SettingsError: ``size`` is neither.
    """
    if size not in SHAPES:
        msg = f"size of street scenes is {size!r}; choose one of: {', '.join(SHAPES)}"
        raise SettingsError(msg)
    return SHAPES[size]


RENDER = Look(
    name="streets-render",
    habits=Habits(
        road=(4.2, 5.2), sidewalk=(2.6, 3.6), bend=0.0008, storeys=(2, 6), garden=0.45, verge=0.5, railing=0.35,
        trees=0.5, people=4, parked=0.55, large=(0.6, 0.6, 0.55), two_wheels=(0.75, 0.75, 0.5), dressed=0.3,
    ),
    palette=Palette(
        facades=((0.80, 0.68, 0.50), (0.78, 0.60, 0.48), (0.83, 0.80, 0.72), (0.60, 0.64, 0.70), (0.85, 0.74, 0.56)),
        roofs=((0.50, 0.24, 0.18), (0.35, 0.35, 0.40)),
        walls=((0.62, 0.32, 0.25), (0.56, 0.30, 0.26), (0.66, 0.38, 0.30)),
        fences=((0.50, 0.33, 0.20), (0.58, 0.40, 0.22), (0.42, 0.30, 0.20)),
        leaves=((0.18, 0.46, 0.13), (0.25, 0.52, 0.16), (0.13, 0.38, 0.14)),
        grass=((0.36, 0.60, 0.20), (0.42, 0.62, 0.24)),
        asphalt=(0.30, 0.30, 0.32),
        pavement=(0.62, 0.60, 0.57),
        poles=((0.45, 0.47, 0.50), (0.25, 0.27, 0.30)),
        cars=((0.80, 0.10, 0.10), (0.10, 0.25, 0.70), (0.88, 0.88, 0.88), (0.12, 0.12, 0.13), (0.92, 0.72, 0.10),
              (0.10, 0.45, 0.25)),
        large=((0.90, 0.90, 0.88), (0.85, 0.35, 0.10), (0.15, 0.40, 0.75), (0.80, 0.12, 0.15), (0.95, 0.80, 0.15)),
        clothes=((0.80, 0.20, 0.20), (0.20, 0.35, 0.75), (0.90, 0.85, 0.30), (0.25, 0.60, 0.35), (0.90, 0.90, 0.92),
                 (0.55, 0.25, 0.60), (0.20, 0.20, 0.24)),
    ),
    weather=Weather(
        elevation=(38, 64), sun=(0.95, 0.87, 0.72), ambient=(0.48, 0.52, 0.60), shadow=1.0, softness=0.0,
        zenith=(0.22, 0.45, 0.86), horizon=(0.66, 0.80, 0.95), clouds=(0.0, 0.25), haze=(0.0, 0.002), texture=0.25,
    ),
    sensor=Sensor(
        height=(1.5, 1.8), pitch=(1.0, 4.0), yaw=3.0, focal=(0.70, 0.80), exposure=(-0.1, 0.15), white=(1.0, 1.0, 1.0),
        contrast=(0.95, 1.05), saturation=(1.05, 1.25), blur=(0.0, 0.0), noise=0.0, vignette=0.0, quality=None,
        hood=False,
    ),
)  # fmt: skip

PHOTO = Look(
    name="streets-photo",
    habits=Habits(
        road=(3.8, 4.8), sidewalk=(2.6, 4.4), bend=0.0012, storeys=(3, 7), garden=0.5, verge=0.4, railing=0.4,
        trees=0.65, people=6, parked=0.75, large=(0.5, 0.5, 0.5), two_wheels=(0.8, 0.6, 0.75), dressed=1.0,
    ),
    palette=Palette(
        facades=((0.62, 0.56, 0.48), (0.55, 0.50, 0.46), (0.70, 0.66, 0.58), (0.54, 0.47, 0.40), (0.58, 0.60, 0.58)),
        roofs=((0.38, 0.26, 0.22), (0.28, 0.28, 0.30)),
        walls=((0.46, 0.31, 0.26), (0.42, 0.30, 0.27), (0.50, 0.36, 0.31)),
        fences=((0.36, 0.29, 0.22), (0.45, 0.36, 0.26), (0.28, 0.25, 0.22)),
        leaves=((0.22, 0.30, 0.14), (0.28, 0.33, 0.15), (0.33, 0.31, 0.13), (0.17, 0.24, 0.13)),
        grass=((0.36, 0.40, 0.20), (0.44, 0.42, 0.24)),
        asphalt=(0.40, 0.39, 0.39),
        pavement=(0.52, 0.50, 0.49),
        poles=((0.40, 0.41, 0.41), (0.22, 0.24, 0.24), (0.33, 0.36, 0.33)),
        cars=((0.14, 0.14, 0.15), (0.55, 0.56, 0.58), (0.75, 0.75, 0.75), (0.20, 0.24, 0.32), (0.38, 0.38, 0.40),
              (0.40, 0.10, 0.10)),
        large=((0.72, 0.72, 0.70), (0.62, 0.26, 0.16), (0.24, 0.36, 0.52), (0.70, 0.60, 0.25), (0.42, 0.46, 0.44)),
        clothes=((0.18, 0.18, 0.20), (0.25, 0.28, 0.38), (0.45, 0.42, 0.38), (0.50, 0.22, 0.20), (0.66, 0.65, 0.63),
                 (0.30, 0.34, 0.27)),
    ),
    weather=Weather(
        elevation=(25, 55), sun=(0.60, 0.57, 0.52), ambient=(0.82, 0.84, 0.86), shadow=0.8, softness=0.35,
        zenith=(0.66, 0.72, 0.78), horizon=(0.84, 0.85, 0.84), clouds=(0.4, 1.0), haze=(0.003, 0.012), texture=1.0,
    ),
    sensor=Sensor(
        height=(1.15, 1.4), pitch=(-0.5, 3.5), yaw=5.0, focal=(0.76, 0.92), exposure=(-0.2, 0.45),
        white=(0.96, 1.02, 0.94), contrast=(0.95, 1.25), saturation=(0.65, 0.95), blur=(0.35, 0.8), noise=0.03,
        vignette=0.4, quality=(45, 75), hood=True,
    ),
)  # fmt: skip

LOOKS: dict[str, Look] = {look.name: look for look in (RENDER, PHOTO)}
