"""The one loop under stock MONAI handlers: pairs of batches, what a handler sees, and a loss that is not finite."""

import logging
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from ignite.engine import Events
from monai.data import DataLoader, Dataset, MetaTensor
from monai.engines import SupervisedTrainer
from monai.engines.utils import IterationEvents
from monai.handlers import CheckpointSaver, StatsHandler, from_engine
from torch import Tensor

from prostate_uda.data.batch import Batch
from prostate_uda.engines.trainer import AdaptationTrainer, Pair, PairedLoader, TrainingError, as_batch
from prostate_uda.errors import ProstateUDAError, SettingsError, ShapeError
from prostate_uda.methods import METHODS, AdaptSegNet, Method, Optimization, SelfTraining, SourceOnly
from tests.builders import asked_teacher
from tests.builders import tiny_deeplab as tiny

CPU = torch.device("cpu")
SMALL = {"adaptsegnet": {"discriminator_channels": 4, "discriminator_stages": 2}}


def batch(seed: int) -> Batch:
    rng = torch.Generator().manual_seed(seed)
    return Batch(image=torch.randn(2, 1, 32, 32, generator=rng), label=torch.randint(3, (2, 32, 32), generator=rng))


def pairs(count: int) -> list[Pair]:
    return [Pair(batch(step), batch(100 + step)) for step in range(count)]


def trainer(method: Method, loader: object, **options: object) -> AdaptationTrainer:
    state = method.prepare(tiny(), Optimization(), teacher=asked_teacher(method, 5))
    return AdaptationTrainer(
        device="cpu",
        max_epochs=1,
        data_loader=loader,  # type: ignore[arg-type]
        method=method,
        adaptation=state,
        **options,
    )


@pytest.mark.parametrize(
    ("source", "target", "expected"),
    [
        ("abcd", "xy", ["ax", "by", "cx", "dy"]),
        ("ab", "xyzuv", ["ax", "by", "az", "bu", "av"]),
        ("a", "xy", ["ax", "ay"]),
        ("ab", "xy", ["ax", "by"]),
    ],
)
def test_the_shorter_loader_starts_again(source: str, target: str, expected: list[str]) -> None:
    loader = PairedLoader(list(source), list(target))
    assert len(loader) == len(expected)
    for _ in range(2):  # an epoch is like the one before
        assert ["".join(pair) for pair in loader] == expected
    assert [pair.source for pair in loader] == [both[0] for both in expected]


class Shuffled:
    """A loader whose every pass is another one."""

    def __init__(self) -> None:
        self.passes = 0

    def __len__(self) -> int:
        return 2

    def __iter__(self) -> Iterator[str]:
        self.passes += 1
        return iter([f"{self.passes}a", f"{self.passes}b"])


def test_starting_again_is_a_new_pass() -> None:
    assert [pair.source for pair in PairedLoader(Shuffled(), "vwxyz")] == ["1a", "1b", "2a", "2b", "3a"]


def test_a_batch_is_taken_as_it_is() -> None:
    given = batch(0)
    taken = as_batch(given, CPU)
    assert torch.equal(taken.image, given.image)
    assert torch.equal(taken.label, given.label)


@pytest.mark.parametrize("shape", [(2, 4, 5), (2, 1, 4, 5)])
@pytest.mark.parametrize("kind", [torch.uint8, torch.float32, torch.int64])
def test_a_monai_dictionary_becomes_a_batch(shape: tuple[int, ...], kind: torch.dtype) -> None:
    label = torch.arange(40).remainder(3).view(shape).to(kind)
    image = torch.arange(120, dtype=torch.float64).view(2, 3, 4, 5)
    taken = as_batch({"image": MetaTensor(image), "label": MetaTensor(label), "case": ["a", "b"]}, CPU)  # type: ignore[dict-item]
    assert taken.image.dtype == torch.float32
    assert taken.label.dtype == torch.int64
    assert tuple(taken.label.shape) == (2, 4, 5)
    assert taken.label.flatten().tolist() == [value % 3 for value in range(40)]
    assert torch.equal(torch.as_tensor(taken.image).double(), image)


@pytest.mark.parametrize(
    ("image", "label"),
    [
        ((2, 1, 4, 5), (2, 3, 4, 5)),  # one-hot
        ((2, 1, 4, 5), (1, 4, 5)),
        ((2, 1, 4, 5), (2, 5, 4)),
        ((1, 4, 5), (1, 4, 5)),
        ((2, 1, 4, 5, 6), (2, 1, 4, 5, 6)),
    ],
)
def test_shapes_that_do_not_fit_are_our_error(image: tuple[int, ...], label: tuple[int, ...]) -> None:
    with pytest.raises(ShapeError, match=r"allowed are \(B, k, H, W\) with \(B, H, W\) or \(B, 1, H, W\)"):
        as_batch({"image": torch.zeros(image), "label": torch.zeros(label)}, CPU)


@pytest.mark.parametrize("name", METHODS)
def test_every_method_runs_under_it(name: str) -> None:
    method = METHODS[name](**SMALL.get(name, {}))
    engine = trainer(method, pairs(2))
    before = [value.detach().clone() for value in engine.network.parameters()]
    engine.run()
    assert isinstance(engine, SupervisedTrainer)
    assert engine.adaptation.step == 2
    assert any(not torch.equal(old, new) for old, new in zip(before, engine.network.parameters(), strict=True))


def test_it_steps_exactly_as_the_method_alone() -> None:
    engine = trainer(SelfTraining(), pairs(3))
    alone = SelfTraining().prepare(tiny(), Optimization())
    losses: list[Tensor] = []
    engine.add_event_handler(IterationEvents.BACKWARD_COMPLETED, lambda: losses.append(engine.state.output["loss"]))
    engine.run()
    expected = [SelfTraining().step(alone, pair.source, pair.target) for pair in pairs(3)]  # type: ignore[arg-type]
    torch.testing.assert_close(losses, [named["source"] + named["target"] for named in expected], rtol=0, atol=0)
    torch.testing.assert_close(engine.network.state_dict(), alone.network.state_dict(), rtol=0, atol=0)


def test_handlers_see_the_target_batch_and_every_named_loss() -> None:
    method = AdaptSegNet(discriminator_channels=4, discriminator_stages=2)
    engine = trainer(method, pairs(1), decollate=False)
    engine.run()
    output = engine.state.output
    assert torch.equal(output["image"], batch(100).image)
    assert torch.equal(output["label"], batch(100).label)
    assert set(output) == {"image", "label", "loss", "source", "fooling", "discriminator"}
    assert torch.equal(output["loss"], output["source"])


def test_the_usual_iteration_events_fire_in_their_order() -> None:
    engine = trainer(SourceOnly(), pairs(2))
    fired: list[str] = []
    for event in (*IterationEvents, Events.ITERATION_STARTED, Events.ITERATION_COMPLETED):
        engine.add_event_handler(event, fired.append, event.name)
    engine.run()
    assert fired == 2 * [
        "ITERATION_STARTED",
        "INNER_ITERATION_STARTED",
        "INNER_ITERATION_COMPLETED",
        "FORWARD_COMPLETED",
        "LOSS_COMPLETED",
        "BACKWARD_COMPLETED",
        "MODEL_COMPLETED",
        "ITERATION_COMPLETED",
    ]


def test_a_loader_without_a_length_needs_to_be_told_one() -> None:
    def endless() -> Iterator[Pair]:
        while True:
            yield from pairs(2)

    engine = trainer(SourceOnly(), endless(), epoch_length=3)
    engine.run()
    assert engine.adaptation.step == 3


class Kept(logging.Handler):
    """MONAI's loggers do not propagate, so pytest's own capture may miss them."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


def test_losses_are_logged() -> None:
    engine, kept = trainer(SourceOnly(), pairs(2)), Kept()
    StatsHandler(name="losses", output_transform=from_engine(["loss"], first=True)).attach(engine)
    logging.getLogger("losses").addHandler(kept)
    engine.run()
    logging.getLogger("losses").removeHandler(kept)
    logged = [float(value) for value in re.findall(r"Loss: (\d+\.\d+)", "\n".join(kept.lines))]
    alone = SourceOnly().prepare(tiny(), Optimization())
    expected = [float(SourceOnly().step(alone, p.source, p.target)["source"]) for p in pairs(2)]  # type: ignore[arg-type]
    assert logged == pytest.approx(expected, abs=1e-4)


def test_plain_batches_of_a_monai_loader_and_decollation() -> None:
    def loader(seed: int) -> DataLoader:
        seen = batch(seed)
        return DataLoader(
            Dataset([{"image": i, "label": y[None]} for i, y in zip(seen.image, seen.label, strict=True)]), batch_size=2
        )

    engine = trainer(SelfTraining(), PairedLoader(loader(0), loader(100)))
    engine.run()
    assert [set(item) for item in engine.state.output] == [{"image", "label", "loss", "source", "target"}] * 2
    assert torch.equal(engine.state.output[1]["label"], batch(100).label[1])


@pytest.mark.parametrize("method", [SourceOnly(), SelfTraining()])
def test_a_loss_that_is_not_finite_names_the_step(method: Method) -> None:
    good, bad = pairs(1)[0], batch(1)
    bad.image[0, 0, 0, 0] = torch.nan
    engine = trainer(method, [good, Pair(bad, batch(2)), good])
    with pytest.raises(TrainingError, match=r"loss is not finite at step 2 \(source nan") as caught:
        engine.run()
    assert isinstance(caught.value, ProstateUDAError)
    assert "\n" not in str(caught.value)
    assert engine.adaptation.step == 2  # the third was not begun


def test_what_was_saved_before_a_loss_that_is_not_finite_is_finite(tmp_path: Path) -> None:
    bad = batch(1)
    bad.image.fill_(torch.nan)
    engine = trainer(SourceOnly(), [pairs(1)[0], Pair(bad, batch(2))])
    saver = CheckpointSaver(
        save_dir=str(tmp_path), save_dict={"adaptation": engine.adaptation}, save_interval=1, epoch_level=False
    )
    saver.attach(engine)
    with pytest.raises(TrainingError):
        engine.run()
    (file,) = tmp_path.iterdir()
    saved = torch.load(file, weights_only=True)
    assert saved["step"] == 1
    assert all(bool(value.isfinite().all()) for value in saved["network"].values())


def test_an_empty_loader_is_refused_rather_than_waited_for() -> None:
    with pytest.raises(SettingsError, match="without a batch"):
        next(iter(PairedLoader([], [{"image": torch.zeros(1, 1, 32, 32)}])))


def test_a_target_without_labels_is_a_target_of_ignored_pixels() -> None:
    batch = as_batch({"image": torch.zeros(2, 1, 32, 32)}, torch.device("cpu"))
    assert batch.label.shape == (2, 32, 32)
    assert (batch.label == 255).all()
