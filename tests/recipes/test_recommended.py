"""``adapt --method recommended``: volumes of the source, an NTM from the teacher's confusion, its augmentation."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from prostate_uda.data.slices import BatchStream
from prostate_uda.data.volumes import read_image, read_label
from prostate_uda.engines.observers import Silent
from prostate_uda.engines.rounds import count_confusion
from prostate_uda.engines.stages import Workplace
from prostate_uda.errors import SettingsError, UnknownNameError
from prostate_uda.maths.losses import IGNORE
from prostate_uda.maths.noise import from_counts
from prostate_uda.maths.volume_selection import VolumeSelection
from prostate_uda.networks.teacher import Teacher
from prostate_uda.recipes import AdaptSettings, adapt
from prostate_uda.recipes.adapt import Bench
from prostate_uda.recipes.opening import open_world
from prostate_uda.recipes.recorded import load_network
from prostate_uda.recipes.world import splits
from prostate_uda.recipes.zone_world import PSEUDO_VALUES, zone_volumes
from prostate_uda.transforms import AUGMENTATIONS
from tests.builders import random_batch, tiny_deeplab, tiny_teacher
from tests.recipes.conftest import TINY
from tests.recipes.test_adapt_selection import Listening, chosen

CPU = torch.device("cpu")
SETTINGS = {**TINY, "method": "recommended", "augment": "plain"}


def test_what_comes_with_the_method_unless_another_is_named() -> None:
    def told(**given: str) -> tuple[str, str]:
        settings = AdaptSettings(**given)
        return settings.augment, settings.warm_up

    assert told(method="recommended") == ("strong", "adversarial")
    assert told(method="recommended", augment="plain") == ("plain", "adversarial")
    assert told(method="recommended", warm_up="none") == ("strong", "none")
    assert told(method="metacorrection") == ("plain", "none")
    with pytest.raises(UnknownNameError, match="warm-up"):
        AdaptSettings(warm_up="hot")
    with pytest.raises(SettingsError, match="warm_up 'adversarial' beside predictor_steps 0"):
        AdaptSettings(method="self-training", warm_up="adversarial", predictor_steps=0)


@pytest.mark.slow
def test_a_warm_up_trains_the_predictor_for_any_method_and_starts_from_its_network(
    finished: Path, tmp_path: Path
) -> None:
    settings = AdaptSettings(**{**TINY, "method": "self-training", "warm_up": "adversarial", "predictor_steps": 3})
    adapt(settings, tmp_path / "run")
    ends = [
        torch.load(tmp_path / "run" / "checkpoints" / f"{stage}.pt", weights_only=True)["state"]
        for stage in ("source", "predictor", "round_1")
    ]
    assert [end["step"] for end in ends] == [6, 3, 4]
    assert chosen(tmp_path / "run", 1)["rule"] == "Selection(threshold=0.0, portion=None) after adversarial warm-up"
    # labels are the warm network's own
    segmenter = bench_of(settings, tmp_path).segmenter(load_network(tmp_path / "run", settings, "predictor", CPU))
    for case in splits(settings)[1].train:
        kept = read_label(tmp_path / "run" / "pseudo_labels" / "round_1" / f"{case.id}.nii.gz", PSEUDO_VALUES)
        assert np.array_equal(kept.array, segmenter(case.image)[1])


def bench_of(settings: AdaptSettings, folder: Path) -> Bench:
    place = Workplace(folder=folder, device=CPU, progress=Silent(), checkpoint_every=9)
    return Bench(settings, place, open_world(settings, Silent()))


@pytest.mark.slow
def test_labels_by_the_sources_volumes_and_an_ntm_that_starts_where_the_teacher_confuses(
    finished: Path, tmp_path: Path
) -> None:
    settings = AdaptSettings(**SETTINGS, start_from=finished)
    with pytest.raises(KeyboardInterrupt):
        adapt(settings, tmp_path / "run", progress=Listening("round 1: recommended"))
    heard = Listening()
    assert adapt(settings, tmp_path / "run", resume=True, progress=heard)["status"] == "done"
    assert "round 1: confusion on the source" in heard.titles
    whole = adapt(settings, tmp_path / "whole")
    ends = [torch.load(tmp_path / run / "checkpoints" / "round_1.pt", weights_only=True) for run in ("run", "whole")]
    torch.testing.assert_close(*(end["state"]["network"] for end in ends), rtol=0, atol=0)

    found = chosen(tmp_path / "whole", 1)
    assert found["rule"] == f"{VolumeSelection(trust=0.5)!r} after adversarial warm-up"
    scans = [read_image(case.image, 0) for case in splits(settings)[1].train]
    volume = sum(scan.array.size * math.prod(scan.grid.spacing) / 1000 for scan in scans)  # mL of all scans
    assert 0 <= sum(found["predicted"].values()) <= volume * 1.001
    start = ends[1]["state"]["tensors"]["ntm_start"]
    torch.testing.assert_close(start, from_counts(counted_by_hand(settings, finished, found["thresholds"])))
    assert whole["settings"]["augment"] == "plain"
    first = json.loads((tmp_path / "whole" / "logs" / "round_1.jsonl").read_text().splitlines()[0])["ntm"]
    assert abs(torch.tensor(first) - start).max() < 0.1  # one step of Adam at 0.05 from there


def counted_by_hand(settings: AdaptSettings, earlier: Path, thresholds: dict[str, float]) -> Tensor:
    """Of the source's labels what the warm network and the rule make of its slices under strong augmentation."""
    network = load_network(earlier, settings, "predictor", CPU)
    slices, k = open_world(settings, Silent()).source, torch.tensor(list(thresholds.values()))
    named = {"seed": settings.seed, "name": "round_1-confusion", "augment": AUGMENTATIONS["strong"]()}
    stream = BatchStream(slices, batch_size=settings.batch_size, depth=1, **named)
    counts = torch.zeros(3, 3)
    for step in range(math.ceil(len(slices) / settings.batch_size)):
        batch = stream.at(step)
        with torch.no_grad():
            ratio, pseudo = (network(batch.image).final.softmax(dim=1) / k.view(3, 1, 1)).max(dim=1)
        for true in range(3):
            for said in range(3):
                counts[true, said] += ((batch.label == true) & (pseudo == said) & (ratio >= 1)).sum()
    return counts


def test_noise_in_the_labels_is_refused_beside_it() -> None:
    with pytest.raises(SettingsError, match=r"label_noise symmetric:0\.3 beside recommended"):
        AdaptSettings(method="recommended", label_noise="symmetric:0.3")


def test_confusion_is_counted_by_hand() -> None:
    batches = [random_batch(1), random_batch(2)]
    high = tiny_teacher(3)(batches[0].image).transpose(0, 1).flatten(1).quantile(0.8, dim=1)
    teacher = Teacher(tiny_deeplab(3), high)
    rule = VolumeSelection()
    counts = count_confusion(teacher, batches, rule, Silent(), "", 2)
    expected = torch.zeros(3, 3, dtype=torch.int64)
    for batch in batches:
        for probs, label in zip(teacher(batch.image), batch.label, strict=True):
            ratio, pseudo = (probs / teacher.thresholds[:, None, None]).max(dim=0)
            for true in range(3):
                for said in range(3):
                    expected[true, said] += int(((label == true) & (pseudo == said) & (ratio >= 1)).sum())
    assert counts.tolist() == expected.tolist()
    assert 0 < int(counts.sum()) < sum(int((batch.label != IGNORE).sum()) for batch in batches)
    assert from_counts(counts).shape == (3, 3)


def test_volumes_of_the_source_are_its_labels() -> None:
    source, _, _ = splits(AdaptSettings(**TINY))
    volumes = zone_volumes(source.train)
    assert 20 < float(volumes[1:].sum()) < 120  # a man's prostate in mL
    assert float(zone_volumes(source.train[:1])[1:].sum()) != pytest.approx(float(volumes[1:].sum()))
