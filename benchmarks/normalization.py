"""How much of the shift between the phantom's scanners each normalization removes alone: source-only, no adaptation.

    python benchmarks/normalization.py --seeds 0,1,2 --presets all

writes ``benchmarks/results/normalization.json`` and, with ``--markdown FILE``, the table of ``docs/normalization.md``.
Each seed has its own cohort, network and batches; they are the same for every preset. Results that are there in
``--runs`` are not made again.
"""

import argparse
import platform
import time
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from tables import drop, spread, table

from prostate_uda.data.domains import Case
from prostate_uda.data.preprocessing import as_acquired
from prostate_uda.data.reading import read_truth
from prostate_uda.display import RichProgress
from prostate_uda.engines.evaluation import Segmenter, judge, mean_scores
from prostate_uda.engines.stages import Workplace
from prostate_uda.recipes import AdaptSettings
from prostate_uda.recipes.adapt import Bench, train_source
from prostate_uda.recipes.devices import pick_device
from prostate_uda.recipes.record import read_json, versions, write_json
from prostate_uda.recipes.zone_world import ZoneWorld, open_zones
from prostate_uda.transforms import NORMALIZATIONS

HERE = Path(__file__).parent


def main() -> None:
    """Run the grid and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--presets", default="all", help="names with commas, or all")
    parser.add_argument("--augments", default="plain", help="names with commas")
    parser.add_argument("--source", default="phantom-3t")
    parser.add_argument("--target", default="phantom-1.5t")
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--runs", type=Path, default=Path("runs/normalization"))
    parser.add_argument("--out", type=Path, default=HERE / "results" / "normalization.json")
    given = parser.parse_args()
    presets = list(NORMALIZATIONS) if given.presets == "all" else given.presets.split(",")
    seeds = [int(seed) for seed in given.seeds.split(",")]
    rows = []
    for augment in given.augments.split(","):
        for preset in presets:
            done = [one(given, preset, augment, seed) for seed in seeds]
            source, target = [entry["source"] for entry in done], [entry["target"] for entry in done]
            rows.append(
                {
                    "normalize": preset,
                    "augment": augment,
                    "source": table(source),
                    "target": table(target),
                    "drop_points": drop(source, target),
                    "seconds_per_case": spread([entry["seconds_per_case"] for entry in done]),
                }
            )
    told = f"--seeds {given.seeds} --presets {given.presets} --augments {given.augments} --steps {given.steps}"
    content = {
        "command": f"python benchmarks/normalization.py {told} --source {given.source} --target {given.target}",
        "settings": settings(given, "zscore", "plain", seeds[0]).record(),
        "machine": {"torch_threads": torch.get_num_threads(), "processor": platform.machine()},
        "versions": versions(),
        "seeds": seeds,
        "rows": rows,
    }
    write_json(given.out, content)
    print(markdown(rows))


def settings(given: argparse.Namespace, preset: str, augment: str, seed: int) -> AdaptSettings:
    """One run's."""
    return AdaptSettings(
        source=given.source,
        target=given.target,
        normalize=preset,
        augment=augment,
        source_steps=given.steps,
        seed=seed,
    )


def one(given: argparse.Namespace, preset: str, augment: str, seed: int) -> dict[str, Any]:
    """Dice of the source-only network on both domains' test cases, from disk where it is known."""
    folder = given.runs / f"{preset}-{augment}-{given.steps}-{seed}"
    if (folder / "result.json").exists():
        return read_json(folder / "result.json")
    progress = RichProgress(Console())
    chosen = settings(given, preset, augment, seed)
    world = open_zones(chosen, progress)
    place = Workplace(folder=folder, device=pick_device("auto"), progress=progress, checkpoint_every=100)
    bench = Bench(chosen, place, world)
    segmenter = bench.segmenter(train_source(bench))
    result = {
        "source": scores(segmenter, world.source_split.test),
        "target": scores(segmenter, world.target_split.test),
        "seconds_per_case": seconds(world, preset),
    }
    write_json(folder / "result.json", result)
    return result


def seconds(world: ZoneWorld, preset: str) -> float:
    """How long the preset takes for one case, reading aside, nothing remembered."""
    learned = {name: value for name, value in world.pipeline.config["normalize"].items() if name != "_target_"}
    normalize = NORMALIZATIONS[preset].build(**learned)
    data = as_acquired()({"image": world.source_split.train[0].image})
    start = time.perf_counter()
    normalize(data)
    return time.perf_counter() - start


def scores(segmenter: Segmenter, cases: tuple[Case, ...]) -> dict[str, float | None]:
    """Mean Dice over the cases."""
    rows = []
    for case in cases:
        volume, label = segmenter(case.image)
        rows.append(judge(label, read_truth(case, volume), volume.grid.spacing))
    return mean_scores(rows)


def markdown(rows: list[dict[str, Any]]) -> str:
    """The table of the documentation."""
    lines = [
        "| normalization | augmentation | PZ | TZ | WP | drop from 3T (points) | on 3T: PZ / TZ / WP | s per case |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        target, source = row["target"], row["source"]
        cells = [f"{target[zone]['mean']:.1f} ± {target[zone]['sd']:.1f}" for zone in ("PZ", "TZ", "WP")]
        lost = f"{row['drop_points']['mean']:.1f} ± {row['drop_points']['sd']:.1f}"
        own = " / ".join(f"{source[zone]['mean']:.1f}" for zone in ("PZ", "TZ", "WP"))
        seconds = f"{row['seconds_per_case']['mean']:.2f}"
        told = ["`" + row["normalize"] + "`", row["augment"], *cells, lost, own, seconds]
        lines.append("| " + " | ".join(told) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
