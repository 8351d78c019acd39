import pytest

from prostate_uda.data.scene_classes import (
    CITYSCAPES_VALUES,
    COLOURS,
    GTA5_VALUES,
    SCENE_CLASSES,
    SYNTHIA_13,
    SYNTHIA_16,
    SYNTHIA_ABSENT,
    SYNTHIA_VALUES,
    TRAIN_VALUES,
)

OFFICIAL = """
unlabeled 0 255 0 0 0
ego vehicle 1 255 0 0 0
rectification border 2 255 0 0 0
out of roi 3 255 0 0 0
static 4 255 0 0 0
dynamic 5 255 111 74 0
ground 6 255 81 0 81
road 7 0 128 64 128
sidewalk 8 1 244 35 232
parking 9 255 250 170 160
rail track 10 255 230 150 140
building 11 2 70 70 70
wall 12 3 102 102 156
fence 13 4 190 153 153
guard rail 14 255 180 165 180
bridge 15 255 150 100 100
tunnel 16 255 150 120 90
pole 17 5 153 153 153
polegroup 18 255 153 153 153
traffic light 19 6 250 170 30
traffic sign 20 7 220 220 0
vegetation 21 8 107 142 35
terrain 22 9 152 251 152
sky 23 10 70 130 180
person 24 11 220 20 60
rider 25 12 255 0 0
car 26 13 0 0 142
truck 27 14 0 0 70
bus 28 15 0 60 100
caravan 29 255 0 0 90
trailer 30 255 0 0 110
train 31 16 0 80 100
motorcycle 32 17 0 0 230
bicycle 33 18 119 11 32
"""
"""Name, id, train id and color of cityscapesscripts/helpers/labels.py."""

ROWS = [line.rsplit(" ", 5) for line in OFFICIAL.strip().splitlines()]

SYNTHIA_TABLE = """
void, sky, building, road, sidewalk, fence, vegetation, pole, car, traffic sign, pedestrian, bicycle, motorcycle,
parking-slot, road-work, traffic light, terrain, rider, truck, bus, train, wall, lanemarking
"""
SYNTHIA_NAMES = tuple(name.strip() for name in SYNTHIA_TABLE.split(","))
"""In the order of the README of SYNTHIA-RAND-CITYSCAPES."""

ADAPTSEGNET_GTA5 = {
    7: 0, 8: 1, 11: 2, 12: 3, 13: 4, 17: 5, 19: 6, 20: 7, 21: 8, 22: 9, 23: 10, 24: 11, 25: 12, 26: 13, 27: 14, 28: 15,
    31: 16, 32: 17, 33: 18,
}  # fmt: skip
PUBLISHED_SYNTHIA = {
    3: 0, 4: 1, 2: 2, 21: 3, 5: 4, 7: 5, 15: 6, 9: 7, 6: 8, 16: 9, 1: 10, 10: 11, 17: 12, 8: 13, 18: 14, 19: 15, 20: 16,
    12: 17, 11: 18,
}  # fmt: skip


def known(values) -> dict[int, int]:
    return {value: ours for value, ours in values.items() if ours != 255}


@pytest.mark.parametrize("row", ROWS, ids=[row[0] for row in ROWS])
def test_every_official_id(row):
    name, (number, train, *colour) = row[0], map(int, row[1:])
    assert CITYSCAPES_VALUES[number] == train
    assert GTA5_VALUES[number] == train
    if train != 255:
        assert SCENE_CLASSES[train] == name
        assert COLOURS[train] == tuple(colour)


def test_tables_are_total_and_hold_nothing_else():
    assert set(CITYSCAPES_VALUES) == {*range(34), 255}
    assert set(GTA5_VALUES) == set(range(35))
    assert set(SYNTHIA_VALUES) == set(range(23))
    assert CITYSCAPES_VALUES[255] == GTA5_VALUES[34] == 255
    assert dict(TRAIN_VALUES) == {**{number: number for number in range(19)}, 255: 255}


def test_tables_agree_with_the_published_loaders():
    assert known(GTA5_VALUES) == ADAPTSEGNET_GTA5
    assert known(SYNTHIA_VALUES) == PUBLISHED_SYNTHIA


def test_synthia_agrees_by_name():
    for number, name in enumerate(SYNTHIA_NAMES):
        ours = SYNTHIA_VALUES[number]
        expected = {"pedestrian": "person"}.get(name, name)  # Cityscapes' word
        if name in ("void", "parking-slot", "road-work", "lanemarking"):
            assert ours == 255
        else:
            assert SCENE_CLASSES[ours] == expected


def test_synthias_protocols():
    assert [SCENE_CLASSES[number] for number in SYNTHIA_ABSENT] == ["terrain", "truck", "train"]
    assert len(SYNTHIA_16) == 16
    assert set(SYNTHIA_16) | set(SYNTHIA_ABSENT) == set(range(19))
    assert {SCENE_CLASSES[number] for number in set(SYNTHIA_16) - set(SYNTHIA_13)} == {"wall", "fence", "pole"}
    assert len(SYNTHIA_13) == 13
