"""Three classes on real MR through the Decathlon loader: 24 cases of Task04 Hippocampus, two thirds to learn.

    python benchmarks/hippocampus.py --root ../shared/data/msd-hippocampus

writes ``benchmarks/results/hippocampus.json``. It says that the loader, the working grid, training and judging work
on files of the Decathlon, not how well a hippocampus can be segmented.
"""

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from prostate_uda.data.domains.decathlon import Decathlon
from prostate_uda.data.preprocessing import WorkingGrid, preprocessing
from prostate_uda.data.reading import CaseReader, read_truth
from prostate_uda.data.slices import BatchStream, SliceSet
from prostate_uda.display import RichProgress
from prostate_uda.engines.evaluation import Segmenter, judge
from prostate_uda.engines.inference import SliceStackInferer
from prostate_uda.engines.stages import Pairs, Stage, Workplace, train
from prostate_uda.methods import Optimization, SourceOnly
from prostate_uda.metrics import summarize
from prostate_uda.networks import FinalLogits, build_network
from prostate_uda.recipes.record import versions, write_json
from prostate_uda.transforms import AUGMENTATIONS, NORMALIZATIONS

TASK = "Task04_Hippocampus"
HIPPOCAMPUS = Decathlon(
    name="hippocampus",
    title="Medical Segmentation Decathlon Task04: T1, 1 mm",
    licence="CC BY-SA 4.0",
    unpacked=TASK,
    words={0: ("background",), 1: ("anterior",), 2: ("posterior",)},
)
GRID = WorkingGrid(spacing_mm=1.0, size=64)
CLASSES = {"PZ": "anterior", "TZ": "posterior"}  # classes 1 and 2, by the names that judge gives them


def main() -> None:
    """Train, judge, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, default=Path("../shared/data/msd-hippocampus"))
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "hippocampus.json")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        dice, cases = run(listed(given.root, Path(folder) / TASK), Path(folder), given.steps, given.seed)
    content = {
        "command": f"python benchmarks/hippocampus.py --steps {given.steps} --seed {given.seed}",
        "versions": versions(),
        "cases": cases,
        "dice": dice,
    }
    write_json(given.out, content)
    print(json.dumps(dice, indent=1))


def listed(root: Path, task: Path) -> Path:
    """The cases with the ``dataset.json`` that the archive has, which the sample lacks."""
    task.mkdir(parents=True)
    for name in ("imagesTr", "labelsTr"):
        (task / name).symlink_to((root / name).resolve())
    names = sorted(path.name for path in (root / "imagesTr").glob("*.nii.gz"))
    content = {
        "name": "Hippocampus",
        "labels": {"0": "background", "1": "Anterior", "2": "Posterior"},
        "training": [{"image": f"./imagesTr/{name}", "label": f"./labelsTr/{name}"} for name in names],
        "test": [],
    }
    (task / "dataset.json").write_text(json.dumps(content))
    return task


def run(task: Path, folder: Path, steps: int, seed: int) -> tuple[dict[str, Any], dict[str, int]]:
    """Dice in points over the held-out cases, and how many cases learned and tested."""
    split = HIPPOCAMPUS.cases(task, role="source", seed=seed, holdout=1 / 3)
    progress = RichProgress(Console())
    pre = preprocessing(GRID, NORMALIZATIONS["zscore"].build())
    slices = SliceSet.from_cases(split.train, CaseReader(pre))
    augment = AUGMENTATIONS["plain"]()
    stream = BatchStream(slices, batch_size=16, depth=1, seed=seed, name="source", augment=augment)
    generator = torch.Generator().manual_seed(seed)
    network = build_network("deeplab-small", in_channels=1, num_classes=3, generator=generator)
    optimization = Optimization(learning_rate=2e-3, total_steps=steps)
    stage = Stage(name="source", title="training", method=SourceOnly(), optimization=optimization, seed=seed)
    place = Workplace(folder=folder, device=torch.device("cpu"), progress=progress, checkpoint_every=steps)
    train(stage, network, Pairs(stream, None), place)
    segmenter = Segmenter(FinalLogits(network), pre, SliceStackInferer(1, 16), place.device)
    found: dict[str, list[float]] = {name: [] for name in CLASSES}
    for case in split.test:
        volume, label = segmenter(case.image)
        scores = judge(label, read_truth(case, volume), volume.grid.spacing)
        for name, values in found.items():
            values.append(100 * float(scores[name]))
    told = {CLASSES[name]: summarize(values) for name, values in found.items()}
    dice = {name: {"mean": round(s.mean, 2), "sd": round(s.sd, 2)} for name, s in told.items()}
    return dice, {"train": len(split.train), "test": len(split.test)}


if __name__ == "__main__":
    main()
