"""What stops a stage, what it says then, and that what was good before is still there."""

import json
import re
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch

from prostate_uda.data.batch import Batch
from prostate_uda.engines import checkpoints
from prostate_uda.engines.guards import Guards, not_finite
from prostate_uda.errors import CheckpointError, SettingsError
from prostate_uda.maths.losses import IGNORE
from prostate_uda.methods import AdaptSegNet, MetaCorrection, Method, Optimization, SelfTraining, State
from prostate_uda.methods.base import Losses
from tests.builders import random_batch
from tests.builders import tiny_deeplab as tiny
from tests.contracts.test_methods import VARIANTS, advance, begin
from tests.engines.short_stages import ZONES, Change, Stops, checkpoint, domains, pairs, run, shaped, stopped, turned


def with_nan(at: int) -> Change:
    def change(step: int, batch: Batch) -> Batch:
        return replace(batch, image=batch.image * torch.nan) if step == at else batch

    return change


@pytest.mark.parametrize(("bad", "kept"), [(1, None), (3, 2), (4, 2), (5, 4)])
def test_a_loss_that_is_not_finite_is_told_in_one_line_and_the_checkpoint_stays(
    bad: int, kept: int | None, tmp_path: Path
) -> None:
    message = stopped(tmp_path, SelfTraining(), pairs(with_nan(bad - 1)))
    assert message.startswith(f"round 1: a try: loss is not finite at step {bad} (source nan, target ")
    advice = "begin anew with a lower learning rate, or look at the images (of volumes: 'prostate-uda data show')"
    assert f" on ann, bob, cid, dan; {advice}; " in message
    path = checkpoint(tmp_path)
    if kept is None:
        assert message.endswith("; there is no checkpoint of this stage yet")
        assert not path.exists()
    else:
        assert message.endswith(f"; the last good checkpoint is {path}, of step {kept}")
        saved = checkpoints.load(path)["state"]
        assert saved["step"] == kept
        assert not not_finite(saved)
    lines = (tmp_path / "logs" / "round_1.jsonl").read_text(encoding="utf-8")
    assert [json.loads(line)["step"] for line in lines.splitlines()] == list(range(1, bad))
    assert "NaN" not in lines


def test_a_stage_that_was_stopped_goes_on_from_what_was_good(tmp_path: Path) -> None:
    stopped(tmp_path / "again", SelfTraining(), pairs(with_nan(4)))
    again = run(tmp_path / "again", SelfTraining(), pairs())
    whole = run(tmp_path / "whole", SelfTraining(), pairs())
    torch.testing.assert_close(again.network.state_dict(), whole.network.state_dict(), rtol=0, atol=0)


@dataclass(frozen=True, kw_only=True)
class Steep(SelfTraining):
    """Self-training whose loss is finite and whose slope is not, at one step: the square root of zero."""

    at: int

    def step(self, state: State, source: Batch, target: Batch) -> Losses:
        if state.step + 1 != self.at:
            return super().step(state, source, target)
        state.optimizers["network"].zero_grad()
        loss = (0 * torch.stack([value.sum() for value in state.network.parameters()]).sum()).sqrt()
        loss.backward()  # type: ignore[no-untyped-call]
        state.optimizers["network"].step()
        state.step += 1
        return {"source": loss.detach(), "target": loss.detach()}


@pytest.mark.parametrize(
    ("bad", "steps", "told", "kept"),
    [
        (3, 6, "loss is not finite at step 4 (source nan, target nan)", 2),
        (4, 6, "not finite after step 4: network.backbone.", 2),
        (2, 6, "not finite after step 2: network.backbone.", None),
        (5, 5, "not finite after step 5: network.backbone.", 4),  # the last state is no checkpoint's step
    ],
)
def test_weights_made_by_a_slope_that_is_not_finite_are_never_saved(
    bad: int, steps: int, told: str, kept: int | None, tmp_path: Path
) -> None:
    message = stopped(tmp_path, Steep(at=bad), pairs(), steps=steps)
    assert message.startswith(f"round 1: a try: {told}")
    assert " on ann, bob, cid, dan; " in message
    if kept is None:
        assert not checkpoint(tmp_path).exists()
    else:
        saved = checkpoints.load(checkpoint(tmp_path))["state"]
        assert saved["step"] == kept
        assert not not_finite(saved)


@dataclass(frozen=True, kw_only=True)
class Torn(MetaCorrection):
    """A learned NTM that is torn after the second step, which that step's losses do not show."""

    ntm_mode: str = "learned"  # type: ignore[assignment]

    def step(self, state: State, source: Batch, target: Batch) -> Losses:
        named = super().step(state, source, target)
        if state.step == 3:
            state.tensors["ntm"][0, 1, 2] = torch.nan
        return named


def test_an_ntm_that_is_not_finite_stops_at_once(tmp_path: Path) -> None:
    message = stopped(tmp_path, Torn(), pairs())
    assert message.startswith("round 1: a try: the NTM is not finite at step 3 on ann, bob, cid, dan; ")
    assert checkpoints.load(checkpoint(tmp_path))["state"]["step"] == 2


def test_everything_of_a_state_is_looked_at() -> None:
    method, state = begin("metacorrection, learned")
    advance(method, state, 1)
    whole = state.state_dict()
    assert not_finite(whole) == []
    whole["optimizers"]["network"]["state"][0]["exp_avg_sq"][0] = torch.inf
    whole["network"]["backbone.bn1.running_var"][1] = torch.nan
    whole["tensors"]["ntm_logits"][0, 0, 0] = -torch.inf
    assert not_finite(whole) == [
        "network.backbone.bn1.running_var",
        "optimizers.network.state.0.exp_avg_sq",
        "tensors.ntm_logits",
    ]
    assert not_finite({"huge": torch.full((9,), 3e38), "none": torch.empty(0), "count": torch.tensor(3)}) == []
    assert not_finite({"rows": [torch.zeros(1), (torch.tensor(torch.nan),)]}) == ["rows.1.0"]


@pytest.mark.parametrize("variant", VARIANTS)
def test_no_method_holds_what_is_not_finite_in_a_sound_state(variant: str) -> None:
    method, state = begin(variant)
    nothing = torch.full((2, 32, 32), IGNORE)
    advance(method, state, 1)
    method.step(state, random_batch(1), replace(random_batch(2), label=nothing))
    assert not_finite(state.state_dict()) == []


def test_a_checkpoint_that_is_damaged_is_not_gone_on_with(tmp_path: Path) -> None:
    run(tmp_path, SelfTraining(), pairs(), steps=2)
    content = checkpoints.load(checkpoint(tmp_path))
    content["state"]["network"]["backbone.conv1.weight"][0] = torch.nan
    checkpoints.save(checkpoint(tmp_path), content)
    with pytest.raises(CheckpointError, match=r"not finite \(network\.backbone\.conv1\.weight\); delete it and resume"):
        run(tmp_path, SelfTraining(), pairs())


FAST = MetaCorrection(ntm_mode="learned", learned_rate=0.8, virtual_rate=1e-2)
"""An NTM that learns forty times as fast as the usual one, with nothing to hold it."""


def test_a_learned_ntm_that_runs_away_stops_the_stage_with_advice(tmp_path: Path) -> None:
    message = stopped(tmp_path, FAST, domains(turned))
    assert re.match(
        r"round 1: a try: the learned NTM has run away at step [34]: at level [12] it takes 0\.[0-3]", message
    )
    assert any(f"of {name}'s labels for right, 0.95 at the start" in message for name in ZONES)
    path = checkpoint(tmp_path)
    assert message.endswith(
        f"a smaller learned_rate or a stronger anchor; the last good checkpoint is {path}, of step 2"
    )


@pytest.mark.parametrize(
    ("method", "target", "guards"),
    [
        (FAST, turned, Guards(ntm_floor=0)),
        (FAST, shaped, Guards()),
        (replace(FAST, anchor=1.2), turned, Guards()),
        (replace(FAST, learned_rate=0.3), turned, Guards()),
        (MetaCorrection(ntm_rate=0.9), turned, Guards()),  # far in every step, and from the start again
    ],
)
def test_others_go_through(method: Method, target: Change, guards: Guards, tmp_path: Path) -> None:
    assert run(tmp_path, method, domains(target), steps=20, guards=guards).step == 20


def test_the_start_is_that_of_the_stage_also_where_it_is_taken_up(tmp_path: Path) -> None:
    """At the checkpoint the diagonal is half of what it was; a floor of that half would not stop at the same step."""
    straight = stopped(tmp_path / "straight", FAST, domains(turned))
    with pytest.raises(InterruptedError):
        run(tmp_path / "again", FAST, domains(turned), heard=Stops(2), guards=Guards(ntm_floor=0))
    again = stopped(tmp_path / "again", FAST, domains(turned))
    assert again.replace("again", "straight") == straight


def test_no_matrix_of_the_benchmarks_was_near_the_floor() -> None:
    results = Path(__file__).parents[2] / "benchmarks" / "results" / "known_noise.json"
    rows = [row for row in json.loads(results.read_text(encoding="utf-8"))["rows"] if row["variant"] == "learned"]
    kept = [row["found"][number][number] / 0.965 for row in rows for number in range(3)]
    assert len(kept) >= 60
    assert min(kept) > 1.5 * Guards().ntm_floor


def test_guards_out_of_range_are_refused() -> None:
    for wrong in ({"ntm_floor": 1.0}, {"ntm_floor": -0.1}, {"ntm_floor": float("nan")}, {"looks": 0}):
        with pytest.raises(SettingsError, match="allowed are 0 ≤ ntm_floor < 1"):
            Guards(**wrong)


@pytest.mark.parametrize("name", ["adversarial_weight", "discriminator_rate"])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), -1.0])
def test_adaptsegnets_weights_are_numbers(name: str, value: float) -> None:
    with pytest.raises(SettingsError, match="allowed are weights ≥ 0 and a rate > 0"):
        AdaptSegNet(**{name: value})


def test_two_discriminators_on_one_map_are_refused() -> None:
    with pytest.raises(
        SettingsError, match=r"shallow_weight 0\.1 beside level_weights \(1\.0,\), of one head"
    ) as caught:
        AdaptSegNet(level_weights=(1.0,), shallow_weight=0.1)
    assert "\n" not in str(caught.value)
    assert AdaptSegNet(level_weights=(1.0,)).shallow_weight == 0
    assert AdaptSegNet(level_weights=(0.1, 1.0), shallow_weight=0.1).shallow_weight == 0.1


def test_guards_and_looks_change_no_bit_of_what_is_learned(tmp_path: Path) -> None:
    method = MetaCorrection(ntm_mode="learned")
    guarded, seen = run(tmp_path, method, pairs()), pairs()
    alone = method.prepare(tiny(), Optimization(learning_rate=1e-2, total_steps=6, power=0.0))
    for step in range(6):
        method.step(alone, *seen.at(step))  # type: ignore[arg-type]
    torch.testing.assert_close(guarded.network.state_dict(), alone.network.state_dict(), rtol=0, atol=0)
    torch.testing.assert_close(guarded.tensors, alone.tensors, rtol=0, atol=0)
