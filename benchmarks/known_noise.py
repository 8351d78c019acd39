"""Does the learned NTM find a noise that is known? Target labels are the truth, drawn through a matrix that we chose.

    python benchmarks/known_noise.py [--quick] [--seeds 0,1,2] [--out FILE]

An experiment with synthetic noise on one scanner (phantom-3t), so that label noise is the only difference between the
domains. Half of the training cases are the source, with clean labels, all of them meta data too. The other half are the
target: each pixel's training label is drawn, once, from the row of the known matrix that its true label names; this is
the one place where the target's truth is used for training. From one source network per seed three ways go on: plain
self-training on the noisy labels, the loss corrected by the true matrix, and by a learned one (virtual step on all
parameters, and on the heads alone). The settings are the same for all matrices, scopes and seeds. Judged on held-out
cases against the clean truth, on their own grid.

``recovered`` is the share of the true NTM's gain over self-training (mean Dice of PZ, TZ, WP) that the learned one
gives; ``error_ratio`` is mean |T - T_true| over mean |I - T_true|. Rows that are in the file already are not run again.
"""

import argparse
import copy
import json
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from tables import ZONES, command, place
from torch import Tensor, nn

from prostate_uda.data.batch import Batch
from prostate_uda.data.domains import PHANTOM_3T, Case, PhantomSettings
from prostate_uda.data.preprocessing import WorkingGrid, preprocessing
from prostate_uda.data.reading import CaseReader, read_truth
from prostate_uda.data.slices import BatchStream, SliceSet
from prostate_uda.display import RichProgress
from prostate_uda.engines.evaluation import Segmenter
from prostate_uda.engines.inference import SliceStackInferer
from prostate_uda.engines.observers import Progress
from prostate_uda.engines.stages import Pairs, Stage, Workplace, train
from prostate_uda.maths import losses, noise
from prostate_uda.methods import MetaCorrection, Method, Optimization, SelfTraining, SourceOnly, State
from prostate_uda.methods.base import Losses, both_domains, finish
from prostate_uda.metrics import summarize, zone_dice
from prostate_uda.networks import FinalLogits, build_network
from prostate_uda.recipes.record import read_json, versions, write_json
from prostate_uda.transforms import AUGMENTATIONS, NORMALIZATIONS

NTMS: dict[str, tuple[tuple[float, ...], ...]] = {
    "gland lost": ((0.97, 0.03, 0.0), (0.35, 0.55, 0.10), (0.05, 0.35, 0.60)),  # DESIGN.md's
    "zones confused": ((0.98, 0.01, 0.01), (0.05, 0.65, 0.30), (0.05, 0.30, 0.65)),
    "zones exchanged": ((0.98, 0.01, 0.01), (0.05, 0.50, 0.45), (0.05, 0.40, 0.55)),
    "gland overgrown": ((0.85, 0.10, 0.05), (0.10, 0.85, 0.05), (0.05, 0.45, 0.50)),
}
"""``T[j][k] = p(noisy = k | true = j)`` of background, PZ, TZ."""
VARIANTS = (("self-training", None), ("true", None), ("learned", "all"), ("learned", "heads"))
LEVELS = (0.1, 1.0)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What every row has in common.

    Attributes:
        cases: Of each domain's training.
        test: Held-out cases.
        grid: ``(mm, pixels)``: the gland is a fifth of its slices; at 96 pixels of 1.5 mm it is 6 % and drowns.
        batch: Slices of each domain.
        warm_steps: Of source training before; the meta gradient of a network that knows nothing says nothing.
        warm_rate: Its learning rate.
        steps: Of each variant.
        rate: The network's learning rate there.
        power: Of the poly decay of all rates there.
        epsilon: The NTM's start.
        virtual_rate: γ_v.
        learned_rate: Adam's, for the NTM.
    """

    cases: int = 16
    test: int = 8
    grid: tuple[float, int] = (1.25, 64)
    batch: int = 8
    warm_steps: int = 600
    warm_rate: float = 2e-3
    steps: int = 600
    rate: float = 1e-3
    power: float = 0.3
    epsilon: float = 0.035
    virtual_rate: float = 1e-2
    learned_rate: float = 0.07

    def method(self, variant: str, scope: Any, truth: Tensor) -> Method:  # noqa: ANN401  MetaCorrection checks it
        """A variant's method."""
        if variant == "self-training":
            return SelfTraining(level_weights=LEVELS)
        if variant == "true":
            return KnownNoise(transition=tuple(map(tuple, truth.tolist())))
        return MetaCorrection(
            level_weights=LEVELS,
            ntm_mode="learned",
            virtual_scope=scope,
            epsilon=self.epsilon,
            virtual_rate=self.virtual_rate,
            learned_rate=self.learned_rate,
        )


QUICK = Settings(cases=4, test=2, warm_steps=50, steps=90)


@dataclass(frozen=True, kw_only=True)
class KnownNoise(Method):
    """Self-training whose loss is corrected by an NTM that is given and stays: ``q = p T``."""

    transition: tuple[tuple[float, ...], ...]

    def prepare(self, network: nn.Module, optimization: Optimization, **more: Any) -> State:  # noqa: ANN401
        """The NTM beside the network."""
        state = super().prepare(network, optimization, **more)
        state.tensors["ntm"] = torch.tensor(self.transition).expand(len(LEVELS), -1, -1).clone()
        return state

    def step(self, state: State, source: Batch, target: Batch) -> Losses:
        """As :class:`SelfTraining`'s but for the correction."""
        on_source, levels = both_domains(state, source, target, LEVELS)
        pairs = zip(levels.logits, state.tensors["ntm"], strict=True)
        on_target = losses.weighted_sum([noise.corrected_nll(z, T, target.label) for z, T in pairs], LEVELS)
        return finish(state, on_source + on_target, source=on_source, target=on_target)


def noisy(labels: Tensor, transition: Tensor, generator: torch.Generator) -> Tensor:
    """Each pixel's label drawn through the NTM.

    Args:
        labels: Class indices of any shape, without IGNORE.
        transition: ``(C, C)`` row-stochastic.
        generator: Of the draw.
    """
    drawn = torch.multinomial(transition[labels.flatten().long()], 1, generator=generator)
    return drawn.view_as(labels).to(labels.dtype)


class Scene:
    """A seed's cohort, and the source network that all variants go on from."""

    def __init__(self, seed: int, settings: Settings, progress: Progress) -> None:
        self.seed, self.settings, self.progress = seed, settings, progress
        cohort = PhantomSettings(train=2 * settings.cases, test=settings.test, seed=seed)
        split = PHANTOM_3T.configured(cohort).cases(None, None, role="source", seed=seed)
        spacing, size = settings.grid
        self.preprocessing = preprocessing(WorkingGrid(spacing, size), NORMALIZATIONS["zscore"].build())
        reader = CaseReader(self.preprocessing)
        self.source = SliceSet.from_cases(split.train[: settings.cases], reader)
        self.target = SliceSet.from_cases(split.train[settings.cases :], reader)
        self.test: tuple[Case, ...] = split.test
        generator = torch.Generator().manual_seed(seed)
        self.network: nn.Module = build_network("deeplab-small", in_channels=1, num_classes=3, generator=generator)
        optimization = Optimization(learning_rate=settings.warm_rate, total_steps=settings.warm_steps)
        self._train(f"{seed}: source", SourceOnly(level_weights=LEVELS), optimization, self.network, None)

    def row(self, ntm: str, variant: str, scope: str | None) -> dict[str, Any]:
        """Train one variant under one noise, and judge it."""
        settings, truth = self.settings, torch.tensor(NTMS[ntm])
        labels = noisy(self.target.labels, truth, torch.Generator().manual_seed(self.seed))
        method = settings.method(variant, scope, truth)
        optimization = Optimization(learning_rate=settings.rate, total_steps=settings.steps, power=settings.power)
        network = copy.deepcopy(self.network)
        title = f"{self.seed}: {ntm}: {scope or variant}"
        state = self._train(title, method, optimization, network, replace(self.target, labels=labels))
        found = state.tensors["ntm"][-1] if "ntm" in state.tensors else None
        return {
            "ntm": ntm,
            "seed": self.seed,
            "variant": variant,
            "scope": scope,
            "dice": self.dice(network),
            "ntm_error": None if found is None else distance(found, truth),
            "identity_error": distance(torch.eye(len(truth)), truth),
            "found": None if found is None else [[round(entry, 3) for entry in row] for row in found.tolist()],
        }

    def _train(
        self, title: str, method: Method, optimization: Optimization, network: nn.Module, target: SliceSet | None
    ) -> State:
        stage = Stage(name="stage", title=title, method=method, optimization=optimization, seed=self.seed)
        pairs = Pairs(self._stream("source", self.source), None if target is None else self._stream("target", target))
        with tempfile.TemporaryDirectory() as folder:
            at_end = {"checkpoint_every": optimization.total_steps}
            place = Workplace(folder=Path(folder), device=torch.device("cpu"), progress=self.progress, **at_end)
            return train(stage, network, pairs, place)

    def _stream(self, name: str, slices: SliceSet) -> BatchStream:
        augment = AUGMENTATIONS["plain"]()
        return BatchStream(slices, batch_size=self.settings.batch, depth=1, seed=self.seed, name=name, augment=augment)

    def dice(self, network: nn.Module) -> dict[str, float]:
        """Mean Dice of the held-out cases, in points."""
        segment = Segmenter(FinalLogits(network), self.preprocessing, SliceStackInferer(1, 16), torch.device("cpu"))
        scores = []
        for case in self.test:
            volume, label = segment(case.image)
            scores.append(zone_dice(torch.from_numpy(label), torch.from_numpy(read_truth(case, volume))))
        return {zone: round(100 * summarize([score[zone] for score in scores]).mean, 2) for zone in ZONES[:3]}


def distance(one: Tensor, other: Tensor) -> float:
    """Mean absolute difference of two NTMs."""
    return round(float((one - other).abs().mean()), 4)


def summary(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Per NTM and scope: the share of the true NTM's gain that is recovered, and the NTM's error, over the seeds."""
    told = []
    for ntm in dict.fromkeys(row["ntm"] for row in rows):
        mine = [row for row in rows if row["ntm"] == ntm]
        plain, true = (points(mine, *key) for key in VARIANTS[:2])
        for variant, scope in VARIANTS[2:]:
            learned = points(mine, variant, scope)
            seeds = sorted(plain.keys() & true.keys() & learned.keys())
            if not seeds:
                continue
            gain, got = (sum(one[s] - plain[s] for s in seeds) / len(seeds) for one in (true, learned))
            chosen = [row for row in mine if row["scope"] == scope and row["seed"] in seeds]
            ratios = [row["ntm_error"] / row["identity_error"] for row in chosen if row["variant"] == variant]
            told.append(
                {
                    "ntm": ntm,
                    "scope": scope,
                    "seeds": seeds,
                    "gain_of_true_points": round(gain, 2),
                    "gain_of_learned_points": round(got, 2),
                    "recovered": round(got / gain, 3) if gain > 0 else None,
                    "error_ratio": round(summarize(ratios).mean, 3),
                    "largest_error_ratio": round(max(ratios), 3),
                }
            )
    return told


def points(rows: Sequence[dict[str, Any]], variant: str, scope: str | None) -> dict[int, float]:
    """Mean Dice of PZ, TZ and WP by seed."""
    chosen = [row for row in rows if (row["variant"], row["scope"]) == (variant, scope)]
    return {row["seed"]: sum(row["dice"].values()) / len(row["dice"]) for row in chosen}


def new_rows(
    done: set[tuple[Any, ...]], seeds: Sequence[int], ntms: Sequence[str], settings: Settings, progress: Progress
) -> Iterator[dict[str, Any]]:
    """The rows that are not done; a seed's scene is made where one of its rows is wanted."""
    for seed in seeds:
        scene = None
        for ntm, (variant, scope) in product(ntms, VARIANTS):
            if (ntm, seed, variant, scope) not in done:
                scene = scene or Scene(seed, settings, progress)
                yield scene.row(ntm, variant, scope)


def complete(out: Path, seeds: Sequence[int], ntms: Sequence[str], settings: Settings, progress: Progress) -> None:
    """Run what is not in the file yet, and write after every row; a file of other settings is begun anew."""
    made_with = json.loads(json.dumps({"settings": asdict(settings), "matrices": NTMS}))
    before = read_json(out) if out.exists() else {}
    rows = list(before["rows"]) if before and all(before.get(key) == made_with[key] for key in made_with) else []
    done = {(row["ntm"], row["seed"], row["variant"], row["scope"]) for row in rows}
    for row in new_rows(done, seeds, ntms, settings, progress):
        rows.append(row)
        found = {"summary": summary(rows), "rows": rows}
        write_json(out, {"command": command("known_noise"), "versions": versions(), **made_with, **found})


def main() -> None:
    """Run what is not done yet, and say what came out."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one matrix, one seed, too few steps to tell anything")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--out", type=Path, help="default: results/, or runs/ with --quick")
    given = parser.parse_args()
    out = place("known_noise", given.out, quick=given.quick)
    seeds = [0] if given.quick else [int(seed) for seed in given.seeds.split(",")]
    ntms, settings = (list(NTMS)[:1], QUICK) if given.quick else (list(NTMS), Settings())
    complete(out, seeds, ntms, settings, RichProgress(Console()))
    print(json.dumps(read_json(out)["summary"], indent=1))


if __name__ == "__main__":
    main()
