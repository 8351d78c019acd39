"""Floor 2: one street and everything in it, drawn from a look's habits."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from prostate_uda.data.streets import furniture, people, vehicles
from prostate_uda.data.streets.faces import CLASS, Mesh, Paint, Spot, Surface, pick
from prostate_uda.data.streets.looks import Look
from prostate_uda.data.streets.plots import GROUND_Y, close_end, line_side

END = 90.0
"""Length of the street, metres."""

TRACK_M = 3.2
"""Width of the strip that trams run in, on the left."""


@dataclass(frozen=True)
class Plan:
    """The cross-section of a street.

    Attributes:
        half: Half the width of the road.
        left: Distance of the left kerb from the middle, tram track included.
        walks: Widths of the left and right sidewalks.
        verges: Widths of the grass between kerb and sidewalk, left and right.
        lane: Middle of the camera's lane.
        bend: Sideways shift per squared metre ahead.
    """

    half: float
    left: float
    walks: tuple[float, float]
    verges: tuple[float, float]
    lane: float
    bend: float

    def kerb(self, side: int) -> float:
        """Sideways place of a kerb."""
        return self.half if side > 0 else -self.left

    def front(self, side: int) -> float:
        """Distance of the plots from the middle."""
        number = int(side > 0)
        return abs(self.kerb(side)) + self.verges[number] + self.walks[number]

    def walk(self, side: int, share: float) -> float:
        """Sideways place on a sidewalk: 0 at its kerb's side, 1 at the plots."""
        number = int(side > 0)
        return side * (abs(self.kerb(side)) + self.verges[number] + share * self.walks[number])


def make_street(rng: np.random.Generator, look: Look) -> tuple[Mesh, Plan]:
    """Build a street."""
    mesh = Mesh()
    habits = look.habits
    truck, bus, tram = (bool(rng.random() < chance) for chance in habits.large)
    plan = _draw_plan(rng, look, tram=tram)
    _ground(mesh, rng, look, plan)
    for side in (-1, 1):
        line_side(mesh, rng, look, side, plan.front(side), until=END)
        _furnish(mesh, rng, look, plan, side)
        _plant(mesh, rng, look, plan, side)
        _walkers(mesh, rng, look, plan, side)
    close_end(mesh, rng, look, END + 6)
    if tram:
        spot = Spot(-plan.half - TRACK_M / 2, float(rng.uniform(22, 34)), turn=np.pi)
        vehicles.tram(mesh, spot, rng, look.palette.large)
    _traffic(mesh, rng, look, plan, truck=truck, bus=bus)
    _two_wheels(mesh, rng, look, plan)
    _bend(mesh, plan.bend)
    return mesh, plan


def _bend(mesh: Mesh, bend: float) -> None:
    """Shift everything sideways as the road curves; what stands upright stays upright."""
    for points, pivot in zip(mesh.points, mesh.pivots, strict=True):
        z = points[:, 2] if pivot is None else pivot[1]
        points[:, 0] += bend * z**2
    mesh.pivots = [p if p is None else (p[0] + bend * p[1] ** 2, p[1]) for p in mesh.pivots]


def _draw_plan(rng: np.random.Generator, look: Look, *, tram: bool) -> Plan:
    habits = look.habits
    half = float(rng.uniform(*habits.road))
    verges = [float(rng.uniform(1.2, 2.2)) if rng.random() < habits.verge else 0.0 for _ in range(2)]
    walks = [float(rng.uniform(*habits.sidewalk)) for _ in range(2)]
    bend = float(rng.uniform(-habits.bend, habits.bend))
    lane = half * float(rng.uniform(0.28, 0.42))
    return Plan(half, half + TRACK_M * tram, (walks[0], walks[1]), (verges[0], verges[1]), lane, bend)


def _ground(mesh: Mesh, rng: np.random.Generator, look: Look, plan: Plan) -> None:
    """Road, kerbs, verges and sidewalks, in strips short enough to bend; grass beyond."""
    palette = look.palette
    pattern = (plan.half, float(rng.uniform(5, 8)), float(rng.uniform(6, 26)), float(rng.random() < 0.6))
    road = Paint(CLASS["road"], palette.asphalt, Surface.ROAD, pattern)
    pavement = Paint(CLASS["sidewalk"], palette.pavement, Surface.PAVEMENT, (float(rng.uniform(0.5, 1)), 0.8, 0, 0))
    pavement = pavement.tinted(float(rng.uniform(0.85, 1.1)))
    grass = Paint(CLASS["terrain"], pick(rng, palette.grass), Surface.GRASS)
    mesh.ground((-90, 90), (-4, 2 * END), -0.05, grass)
    cuts = np.concatenate([np.arange(-4, 24, 2.0), np.arange(24, END + 10, 4.0)])
    for z0, z1 in pairwise(cuts):
        mesh.ground((-plan.left, plan.half), (z0, z1), 0.0, road)
        for side in (-1, 1):
            kerb, number = plan.kerb(side), int(side > 0)
            mesh.upright((kerb, z0), (kerb, z1), (0, GROUND_Y), Paint(CLASS["sidewalk"], palette.pavement).tinted(1.15))
            inner = abs(kerb) + plan.verges[number]
            if plan.verges[number]:
                near, far = sorted((kerb + 0.2 * side, side * inner))
                mesh.ground((near, far), (z0, z1), GROUND_Y + 0.02, grass)
            near, far = sorted((kerb, side * (plan.front(side) + 0.3)))
            mesh.ground((near, far), (z0, z1), GROUND_Y, pavement)
    for x in (-plan.half - 2.3, -plan.half - 0.9) if plan.left > plan.half else ():
        for z0, z1 in pairwise(cuts):
            mesh.ground((x - 0.06, x + 0.06), (z0, z1), 0.004, Paint(CLASS["road"], (0.55, 0.55, 0.57)))


def _furnish(mesh: Mesh, rng: np.random.Generator, look: Look, plan: Plan, side: int) -> None:
    """Lamps, signals and signs along one kerb, and perhaps a railing."""
    metal = pick(rng, look.palette.poles)
    x = plan.kerb(side) + 0.45 * side
    for z in np.arange(float(rng.uniform(6, 9.5)), 34, float(rng.uniform(10, 14))):
        furniture.street_lamp(mesh, Spot(x, float(z), GROUND_Y), rng, metal, -1.6 * side)
    if rng.random() < (0.8 if side > 0 else 0.45):
        reach = -side * float(rng.uniform(2.5, 4)) * (rng.random() < 0.5)
        furniture.traffic_light(mesh, Spot(x, float(rng.uniform(7, 13)), GROUND_Y), rng, metal, reach)
    for z in rng.uniform(6, 15, int(rng.integers(1, 3))):
        furniture.sign(mesh, Spot(x + 0.1 * side, float(z), GROUND_Y), rng, metal)
    if rng.random() < 0.3:
        furniture.gantry(mesh, Spot(plan.walk(side, 0.5), float(rng.uniform(12, 18)), GROUND_Y), rng, metal)
    if rng.random() < look.habits.railing:
        start = float(rng.uniform(5, 9))
        furniture.railing(mesh, x - 0.25 * side, (start, start + float(rng.uniform(8, 14))), rng, look.palette.fences)
    if rng.random() < 0.5:
        spot = Spot(plan.walk(side, 0.1), float(rng.uniform(9, 18)), GROUND_Y)
        furniture.bin_for_litter(mesh, spot, (0.3, 0.3, 0.28))


def _plant(mesh: Mesh, rng: np.random.Generator, look: Look, plan: Plan, side: int) -> None:
    """Trees along one kerb."""
    beside = side * (abs(plan.kerb(side)) + 0.9)
    for z in np.arange(float(rng.uniform(9, 14)), 70, 8.5):
        if rng.random() < look.habits.trees:
            furniture.tree(mesh, Spot(beside, float(z) + float(rng.uniform(-1, 1)), GROUND_Y), rng, look.palette.leaves)


def _walkers(mesh: Mesh, rng: np.random.Generator, look: Look, plan: Plan, side: int) -> None:
    """People on one sidewalk, and now and then somebody who crosses the road."""
    clothes = look.palette.clothes
    for _ in range(int(rng.integers(look.habits.people // 3, look.habits.people // 2 + 1))):
        spot = Spot(plan.walk(side, float(rng.uniform(0.15, 0.9))), 5.0 + 8 * float(rng.random()) ** 1.3, GROUND_Y)
        people.person(mesh, spot, rng, clothes)
    if side > 0 and rng.random() < 0.4:
        people.person(mesh, Spot(float(rng.uniform(-plan.half, plan.half)), float(rng.uniform(9, 14))), rng, clothes)


def _traffic(mesh: Mesh, rng: np.random.Generator, look: Look, plan: Plan, *, truck: bool, bus: bool) -> None:
    """Parked cars, and moving ones in both lanes with a truck and a bus among them; large ones keep apart."""
    palette = look.palette
    ahead = [vehicles.car]
    oncoming = [vehicles.car]
    first = ahead if rng.random() < 0.5 else oncoming
    second = oncoming if first is ahead else ahead
    first[:0] = [vehicles.truck] * truck
    second[:0] = [vehicles.bus] * bus
    for lane, turn, queue, start in ((plan.lane, 0.0, ahead, 13.0), (-0.45 * plan.half, np.pi, oncoming, 10.0)):
        z = start + float(rng.uniform(0, 8))
        for number, vehicle in enumerate([*queue, vehicles.car]):
            if number == 0 or rng.random() < 0.7:
                z += 0.0 if vehicle is vehicles.car else 4.0
                colours = palette.cars if vehicle is vehicles.car else palette.large
                vehicle(mesh, Spot(lane + float(rng.uniform(-0.25, 0.25)), z, turn=turn), rng, colours)
            z += float(rng.uniform(10, 18))
    for side in (1, -1) if plan.left == plan.half else (1,):
        for z in np.arange(float(rng.uniform(7, 10)), 60, 5.8):
            if rng.random() < look.habits.parked:
                spot = Spot(plan.kerb(side) - 1.0 * side, float(z), turn=0.0 if side > 0 else np.pi)
                vehicles.car(mesh, spot, rng, palette.cars)


def _two_wheels(mesh: Mesh, rng: np.random.Generator, look: Look, plan: Plan) -> None:
    """Cyclists, motorcycles and parked bicycles near enough to be seen."""
    cyclists, motorcycles, parked = look.habits.two_wheels
    clothes = look.palette.clothes
    for chance in (cyclists, 0.35 * cyclists):
        if rng.random() < chance:
            x = float(rng.choice([plan.half - 2.6, -0.15 * plan.half, plan.walk(1, 0.3)]))
            people.cyclist(mesh, Spot(x, float(rng.uniform(5.5, 9.5)), GROUND_Y * (x > plan.half)), rng, clothes)
    for chance in (motorcycles, 0.3 * motorcycles):
        if rng.random() < chance:
            x = float(rng.choice([-0.25 * plan.half, plan.half - 2.4, plan.walk(-1, 0.05), plan.walk(1, 0.05)]))
            spot = Spot(x, float(rng.uniform(5.5, 9)), GROUND_Y * (abs(x) > plan.half))
            people.motorcycle(mesh, spot, rng, clothes, ridden=bool(abs(x) < plan.half and rng.random() < 0.7))
    if rng.random() < parked:
        side = int(rng.choice([-1, 1]))
        start = float(rng.uniform(6, 10))
        for number in range(int(rng.integers(1, 5))):
            people.bicycle(mesh, Spot(plan.walk(side, 0.9), start + 1.1 * number, GROUND_Y), rng)
