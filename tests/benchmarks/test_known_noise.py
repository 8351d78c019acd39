"""The pieces of the known-noise experiment, tiny: the draw, the fixed correction, rows, summary, resumption."""

import copy
import importlib
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

import pytest
import torch

from prostate_uda.data.batch import Batch
from prostate_uda.engines.observers import Silent
from prostate_uda.methods import Optimization, SelfTraining
from prostate_uda.networks import build_network

FOLDER = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ModuleType:
    monkeypatch.syspath_prepend(str(FOLDER))  # scripts import their neighbour by its name
    monkeypatch.setenv("PROSTATE_UDA_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(sys, "argv", ["known_noise.py"])
    return importlib.import_module("known_noise")


def test_labels_drawn_through_an_ntm_have_it_as_confusion(bench: ModuleType) -> None:
    truth = torch.arange(3, dtype=torch.uint8).repeat_interleave(40_000).view(30, 40, 100)
    for rows in bench.NTMS.values():
        ntm = torch.tensor(rows)
        torch.testing.assert_close(ntm.sum(dim=1), torch.ones(3))
        assert ntm.argmax(dim=1).tolist() == [0, 1, 2]
        drawn = bench.noisy(truth, ntm, torch.Generator().manual_seed(5))
        confusion = torch.stack([torch.bincount(drawn[truth == j].long(), minlength=3) for j in range(3)]) / 40_000
        torch.testing.assert_close(confusion, ntm, atol=0.01, rtol=0)
        assert torch.equal(drawn, bench.noisy(truth, ntm, torch.Generator().manual_seed(5)))
        assert not torch.equal(drawn, bench.noisy(truth, ntm, torch.Generator().manual_seed(6)))


def test_correction_by_the_identity_is_self_training_and_by_a_blind_one_constant(bench: ModuleType) -> None:
    generator = torch.Generator().manual_seed(0)
    network = build_network("deeplab-small", in_channels=1, num_classes=3, generator=generator)
    source, target = (
        Batch(
            image=torch.randn(2, 1, 32, 32, generator=generator),
            label=torch.randint(3, (2, 32, 32), generator=generator),
        )
        for _ in range(2)
    )

    def stepped(method: object) -> tuple[float, torch.Tensor]:
        state = method.prepare(copy.deepcopy(network), Optimization(algorithm="sgd", learning_rate=0.1))
        found = method.step(state, source, target)
        if "ntm" in state.tensors:
            assert state.tensors["ntm"].tolist() == 2 * [torch.tensor(method.transition).tolist()]
        return float(found["target"]), torch.cat([value.detach().flatten() for value in state.network.parameters()])

    plain, weights = stepped(SelfTraining(level_weights=bench.LEVELS))
    same, same_weights = stepped(bench.KnownNoise(transition=((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))))
    assert same == pytest.approx(plain, rel=1e-5)
    torch.testing.assert_close(same_weights, weights, atol=1e-5, rtol=1e-4)
    shares = (0.5, 0.3, 0.2)
    blind, _ = stepped(bench.KnownNoise(transition=3 * (shares,)))  # q is this row, whatever p is
    expected = -torch.tensor(shares)[target.label].log().mean()
    assert blind == pytest.approx(sum(bench.LEVELS) * float(expected), rel=1e-5)


class Counted(Silent):
    def __init__(self) -> None:
        self.titles: list[str] = []

    @contextmanager
    def task(self, title: str, total: int, done: int = 0, *, unit: str = "") -> Iterator[Silent]:
        self.titles.append(title)
        yield self


def test_rows_and_their_resumption(bench: ModuleType, tmp_path: Path) -> None:
    out, ntm = tmp_path / "known_noise.json", "zones confused"
    tiny = bench.Settings(cases=1, test=1, warm_steps=2, steps=3, batch=2)
    bench.complete(out, [4], [ntm], tiny, Counted())
    content = json.loads(out.read_text())
    assert [(row["variant"], row["scope"]) for row in content["rows"]] == list(bench.VARIANTS)
    truth, identity = torch.tensor(bench.NTMS[ntm]), torch.eye(3)
    for row in content["rows"]:
        assert (row["ntm"], row["seed"]) == (ntm, 4)
        assert set(row["dice"]) == {"PZ", "TZ", "WP"}
        assert row["identity_error"] == pytest.approx(float((identity - truth).abs().mean()), abs=1e-4)
    plain, true, *learned = content["rows"]
    assert plain["ntm_error"] is None
    assert true["ntm_error"] == 0
    for row in learned:
        found = torch.tensor(row["found"])
        torch.testing.assert_close(found.sum(dim=1), torch.ones(3), atol=2e-3, rtol=0)
        assert row["ntm_error"] == pytest.approx(float((found - truth).abs().mean()), abs=1e-3)
    scopes = [tiny.method("learned", scope, truth).virtual_scope for _, scope in bench.VARIANTS[2:]]
    assert scopes == ["all", "heads"]

    content["rows"].pop(1)
    out.write_text(json.dumps(content))
    again = Counted()
    bench.complete(out, [4], [ntm], tiny, again)
    assert again.titles == ["4: source", f"4: {ntm}: true"]
    assert json.loads(out.read_text())["rows"][-1] == true


def test_summary_weighs_gains_and_errors(bench: ModuleType) -> None:
    def row(seed: int, variant: str, scope: str | None, points: float, error: float | None) -> dict[str, object]:
        dice = {"PZ": points - 6, "TZ": points, "WP": points + 6}
        named = {"ntm": "a", "seed": seed, "variant": variant, "scope": scope}
        return {**named, "dice": dice, "ntm_error": error, "identity_error": 0.2}

    rows = [row(seed, "self-training", None, 70.0 + seed, None) for seed in (0, 1)]
    rows += [row(seed, "true", None, 80.0 + seed, 0.0) for seed in (0, 1)]
    rows += [row(0, "learned", "all", 80.0, 0.08), row(1, "learned", "all", 79.0, 0.12)]
    (told,) = bench.summary(rows)
    assert (told["scope"], told["seeds"]) == ("all", [0, 1])
    assert (told["gain_of_true_points"], told["gain_of_learned_points"]) == (10, 9)
    assert told["recovered"] == pytest.approx(0.9)
    assert (told["error_ratio"], told["largest_error_ratio"]) == (0.5, 0.6)
