"""MetaCorrection as a MONAI trainer, with stock handlers, loaders and metrics and nothing else of this package."""

from pathlib import Path

import pytest
import torch
from monai.data import DataLoader, Dataset, MetaTensor
from monai.engines import SupervisedEvaluator, SupervisedTrainer
from monai.handlers import (
    CheckpointLoader,
    CheckpointSaver,
    EarlyStopHandler,
    LrScheduleHandler,
    MeanDice,
    StatsHandler,
    ValidationHandler,
    from_engine,
    stopping_fn_from_metric,
)
from monai.transforms import AsDiscreted
from torch import nn

from prostate_uda.engines.metacorrection import MetaCorrectionTrainer
from prostate_uda.errors import SettingsError
from prostate_uda.maths.noise import start
from prostate_uda.methods import MetaCorrection
from prostate_uda.networks import Discriminator, DomainPredictor, FinalLogits
from tests.builders import tiny_deeplab as tiny

# ignite renamed two arguments that MONAI 1.6.1's EarlyStopHandler still passes
old_names = pytest.mark.filterwarnings("ignore:'(min_delta|cumulative_delta)' is deprecated:DeprecationWarning")


def loader(count: int, seed: int, batch_size: int = 2) -> DataLoader:
    rng = torch.Generator().manual_seed(seed)
    items = [
        {
            "image": MetaTensor(torch.randn(1, 32, 32, generator=rng)),
            "label": MetaTensor(torch.randint(3, (1, 32, 32), generator=rng).float()),
        }
        for _ in range(count)
    ]
    return DataLoader(Dataset(items), batch_size=batch_size)


def trainer(network: nn.Module, **options: object) -> MetaCorrectionTrainer:
    settings: dict[str, object] = {"max_epochs": 2, "source_loader": loader(2, 1), "target_loader": loader(4, 2)}
    return MetaCorrectionTrainer(device="cpu", network=network, **{**settings, **options})  # type: ignore[arg-type]


def evaluator(network: nn.Module) -> SupervisedEvaluator:
    return SupervisedEvaluator(
        device="cpu",
        val_data_loader=loader(2, 3, batch_size=1),
        network=FinalLogits(network),
        postprocessing=AsDiscreted(keys=["pred", "label"], argmax=(True, False), to_onehot=3),
        key_val_metric={"dice": MeanDice(include_background=False, output_transform=from_engine(["pred", "label"]))},
    )


@old_names
def test_two_epochs_with_the_stock_handlers(tmp_path: Path) -> None:
    network = tiny()
    optimizer = torch.optim.Adam(network.parameters(), lr=0.01)
    judge, engine = evaluator(network), trainer(network, optimizer=optimizer)
    judged: list[float] = []
    logged: list[float] = []
    judge.add_event_handler("COMPLETED", lambda e: judged.append(e.state.metrics["dice"]))
    EarlyStopHandler(patience=5, score_function=stopping_fn_from_metric("dice"), trainer=engine).attach(judge)
    handlers = [
        StatsHandler(name="stock", tag_name="loss", output_transform=from_engine(["loss"], first=True)),
        ValidationHandler(interval=1, validator=judge),
        LrScheduleHandler(torch.optim.lr_scheduler.StepLR(optimizer, step_size=1, gamma=0.5), print_lr=False),
        CheckpointSaver(
            save_dir=str(tmp_path),
            save_dict={
                "network": network,
                "optimizer": optimizer,
                "trainer": engine,
                "adaptation": engine.adaptation,
            },
            save_interval=1,
            save_final=True,
        ),
    ]
    for handler in handlers:
        handler.attach(engine)
    engine.add_event_handler("ITERATION_COMPLETED", lambda e: logged.append(e.state.output[0]["loss"]))
    engine.run()
    assert isinstance(engine, SupervisedTrainer)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "checkpoint_epoch=1.pt",
        "checkpoint_epoch=2.pt",
        "checkpoint_final_iteration=4.pt",
    ]
    assert len(judged) == 2
    assert all(0 < dice < 1 for dice in judged)
    assert len(logged) == 4
    assert all(0 < loss < 10 for loss in logged)
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.01 / 4)  # the handler's rates, not ours
    assert engine.adaptation.step == 4


@old_names
def test_early_stop_ends_the_training() -> None:
    engine = trainer(tiny(), max_epochs=10)
    judge = evaluator(engine.network)
    EarlyStopHandler(patience=2, score_function=lambda _: 0.0, trainer=engine).attach(judge)
    ValidationHandler(interval=1, validator=judge).attach(engine)
    engine.run()
    assert engine.state.epoch == 3  # the first sets the score, two more without a better one


@pytest.mark.parametrize("mode", ["per-step", "learned"])
def test_monais_checkpoint_handlers_take_a_run_up_again_bit_for_bit(mode: str, tmp_path: Path) -> None:
    def begin(seed: int) -> tuple[MetaCorrectionTrainer, dict[str, object]]:
        network = tiny(seed)
        optimizer = torch.optim.Adam(network.parameters(), lr=0.01)
        engine = trainer(network, optimizer=optimizer, method=MetaCorrection(ntm_mode=mode))  # type: ignore[arg-type]
        parts = {"network": network, "optimizer": optimizer, "trainer": engine, "adaptation": engine.adaptation}
        return engine, parts

    whole, parts = begin(0)
    CheckpointSaver(save_dir=str(tmp_path), save_dict=parts, save_interval=1).attach(whole)
    whole.run()

    again, parts = begin(9)
    CheckpointLoader(load_path=str(tmp_path / "checkpoint_epoch=1.pt"), load_dict=parts).attach(again)
    again.run()
    assert (again.state.epoch, again.state.iteration, again.adaptation.step) == (2, 4, 4)
    torch.testing.assert_close(again.network.state_dict(), whole.network.state_dict(), rtol=0, atol=0)
    torch.testing.assert_close(again.transitions, whole.transitions, rtol=0, atol=0)


def test_the_given_optimizer_is_the_one_that_moves_the_network() -> None:
    network = tiny()
    optimizer = torch.optim.SGD(network.parameters(), lr=0.0)
    before = [value.detach().clone() for value in network.parameters()]
    engine = trainer(network, optimizer=optimizer, max_epochs=1)
    assert engine.optimizer is engine.adaptation.optimizers["network"] is optimizer
    engine.run()
    assert all(torch.equal(old, new) for old, new in zip(before, network.parameters(), strict=True))


def test_without_an_optimizer_it_is_adam_at_a_constant_rate() -> None:
    engine = trainer(tiny(), max_epochs=1)
    engine.run()
    assert isinstance(engine.optimizer, torch.optim.Adam)
    assert [group["lr"] for group in engine.optimizer.param_groups] == [1e-3, 1e-3]


def test_the_learned_transitions_can_be_looked_at() -> None:
    engine = trainer(tiny(), method=MetaCorrection(ntm_mode="learned", epsilon=0.1))
    first = engine.transitions.clone()
    torch.testing.assert_close(first, start(3, 0.1).repeat(2, 1, 1))
    engine.run()
    assert engine.transitions.shape == (2, 3, 3)
    assert not engine.transitions.requires_grad
    assert not torch.allclose(engine.transitions, first)


def test_a_domain_predictor_narrows_the_meta_set() -> None:
    predictor = DomainPredictor(tiny(5), Discriminator(3, base_channels=4, layers=2))
    method = MetaCorrection(meta_threshold=1.0, meta_minimum=0.25)  # nobody is that sure: the quarter is taken
    shares = []
    for chosen in (predictor, None):
        engine = trainer(tiny(), method=method, domain_predictor=chosen, max_epochs=1, decollate=False)
        engine.run()
        shares.append(float(engine.state.output["meta_share"]))
    assert shares == [0.25, 1.0]


def test_a_network_that_does_not_say_its_classes_is_our_error() -> None:
    with pytest.raises(SettingsError, match="num_classes"):
        trainer(nn.Conv2d(1, 3, 1))
