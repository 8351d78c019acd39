"""Floor 5: ``plot noise``: what noise in the pseudo-labels costs a comparison's runs, and how near a learned NTM comes.

The true NTM is counted afterwards, from the pseudo-labels that a run kept and the truth of the same training cases,
where there is one (a phantom's, say). That truth is used for these figures and nothing else: no adaptation has read it.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from prostate_uda.data.domains import Case
from prostate_uda.data.labels import ZONES, parse_label_names
from prostate_uda.data.volumes import check_same_grid, read_label
from prostate_uda.errors import SettingsError
from prostate_uda.maths.label_noise import NONE
from prostate_uda.maths.noise import confusion_counts
from prostate_uda.methods import MetaCorrection
from prostate_uda.recipes.comparison.queue import finished_runs
from prostate_uda.recipes.comparison.scores import MEAN, cells, read_cases
from prostate_uda.recipes.plot import picture_path, read_ntms
from prostate_uda.recipes.record import Record, write_json, writing
from prostate_uda.recipes.recorded import check_same_image, recorded_settings
from prostate_uda.recipes.settings import AdaptSettings
from prostate_uda.recipes.world import target_cases
from prostate_uda.recipes.zone_world import PSEUDO_VALUES
from prostate_uda.review.figures import save_figure
from prostate_uda.review.noise import NoiseRun, noise_figure

SELF_TRAINING, LEARNED = "self-training", "learned"
Matrix = NDArray[np.float64]


@dataclass(frozen=True)
class NoisePlotted:
    """What was written.

    Attributes:
        picture: The curves.
        numbers: The JSON beside it.
        runs: How many finished runs they are of.
    """

    picture: Path
    numbers: Path
    runs: int


def plot_noise(
    comparison: Path, out: Path | None = None, *, command: str = "prostate_uda.recipes.plot_noise"
) -> NoisePlotted:
    """Draw Dice and the error of the NTM against the rate of the noise that ``ablate noise`` injected.

    Args:
        comparison: Folder of the comparison, finished or not: what is not done is left out.
        out: ``.png``, ``.pdf`` or ``.svg`` to write; by default ``noise.png`` of the comparison. The numbers go beside
            it, as ``.json``.
        command: What is written down as their origin.

    Raises:
        SettingsError: ``out`` has another suffix or cannot be written; no finished run has noise; or the target's files
            are not those that a run read.
        CheckpointError: what a run left is damaged.
        DataError: the target's truth cannot be used.
    """
    out = picture_path(out, comparison / "noise.png")
    runs = [found for folder in finished_runs(comparison) if (found := read_noise_run(folder)) is not None]
    if not runs:
        raise SettingsError(
            f"{comparison} holds no finished run of self-training or a learned NTM with noise; run ablate noise --out "
            f"{comparison} first"
        )
    numbers = out.with_suffix(".json")
    with writing(out):
        save_figure(noise_figure(runs), out)
        write_json(numbers, {"command": command, "rows": [asdict(run) for run in runs]})
    return NoisePlotted(out, numbers, len(runs))


def read_noise_run(folder: Path) -> NoiseRun | None:
    """What a finished run of a comparison tells of noise; None where it had none, or another method than these two.

    Raises:
        CheckpointError: what it left is damaged.
        SettingsError: the target's files are not those that it read.
        DataError: the target's truth cannot be used.
    """
    record = Record.read(folder / "run.json").content
    if record["settings"].get("label_noise", NONE) == NONE:
        return None
    settings = recorded_settings(record["settings"])
    noise, method = settings.noise, _method(settings)
    if noise is None or method is None:
        return None
    scores = cells([read_cases(folder)])
    true = true_ntm(folder, settings, record["hashes"])
    learned = read_ntms(folder)[-1].matrices[-1] if method == LEARNED else None
    return NoiseRun(
        protocol=folder.parent.parent.name,
        seed=settings.seed,
        kind=noise.kind,
        rate=noise.rate,
        method=method,
        dice={name: scores[name]["mean"] for name in ("PZ", "TZ", "WP", MEAN)},
        ntm_error=None if true is None or learned is None else tuple(ntm_error(level, true) for level in learned),
        identity_error=None if true is None else ntm_error(np.eye(len(ZONES)), true),
    )


def _method(settings: AdaptSettings) -> str | None:
    """Its name among the curves."""
    method = settings.build_method()
    if isinstance(method, MetaCorrection):
        return LEARNED if method.ntm_mode == "learned" else None
    return SELF_TRAINING if settings.method == SELF_TRAINING else None


def ntm_error(matrix: Matrix, true: Matrix) -> float:
    """Mean absolute difference over the rows of the classes that the truth holds."""
    return float(np.nanmean(abs(matrix - true)))


def true_ntm(run: Path, settings: AdaptSettings, hashes: Mapping[str, str]) -> Matrix | None:
    """``T[j, k] = p(pseudo-label = k | true = j)`` of a run's last round, counted over its training cases.

    It reads the labels of the target's training cases, which no adaptation may; it does so afterwards, for a figure.

    Args:
        run: Its folder.
        settings: Of the run.
        hashes: What it read, from ``run.json``.

    Returns:
        ``(C, C)``, NaN in the row of a class that the truth does not hold where there is a pseudo-label; None where no
        training case has a label.

    Raises:
        SettingsError: the target's images are not those that the run read.
        DataError: a label cannot be used, or there is no pseudo-label to one.
    """
    cases = _labelled(settings)
    if not cases:
        return None
    counts = torch.zeros(len(ZONES), len(ZONES), dtype=torch.int64)
    for case, truth_file in cases:
        check_same_image(case.image, f"target/train/{case.id}/image", run, hashes)
        truth = read_label(truth_file, case.values)
        pseudo = read_label(run / "pseudo_labels" / f"round_{settings.rounds}" / f"{case.id}.nii.gz", PSEUDO_VALUES)
        check_same_grid(pseudo, truth)
        counts += confusion_counts(torch.from_numpy(pseudo.array), torch.from_numpy(truth.array), len(ZONES))
    shares: Matrix = (counts / counts.sum(dim=1, keepdim=True)).double().numpy()  # 0 / 0 is NaN
    return shares


def _labelled(settings: AdaptSettings) -> list[tuple[Case, Path]]:
    """The target's training cases with their truth's file, those that have one."""
    split, labelled, _ = target_cases(settings)
    named = settings.target_label_names
    values = None if named is None else parse_label_names(named)
    cases = (case if values is None else replace(case, values=values) for case in split.train)
    return [(case, truth) for case in cases if case.id in labelled and (truth := labelled[case.id].label) is not None]
