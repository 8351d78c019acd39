"""Floor 5: a prostate run's two domains: volumes on the working grid, zones in them, NIfTI files out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import ignite.distributed as idist
import torch
from torch import Tensor, nn

from prostate_uda.data.domains import Case
from prostate_uda.data.labels import PZ, TZ, ZONE_VALUES
from prostate_uda.data.reading import CaseReader, read_truth, zone_amounts
from prostate_uda.data.slices import SliceSet
from prostate_uda.data.volumes import read_image
from prostate_uda.engines.evaluation import Segmenter
from prostate_uda.engines.inference import SliceStackInferer
from prostate_uda.engines.observers import Progress
from prostate_uda.errors import DataError
from prostate_uda.maths.losses import IGNORE
from prostate_uda.networks import FinalLogits
from prostate_uda.recipes.bundle_folder import network_config, write_bundle
from prostate_uda.recipes.identities import check_run
from prostate_uda.recipes.judging import judge_run
from prostate_uda.recipes.pipeline import Pipeline, build_pipeline
from prostate_uda.recipes.processes import first_alone, is_first, own_cases, together
from prostate_uda.recipes.record import Record
from prostate_uda.recipes.settings import AdaptSettings
from prostate_uda.recipes.training_scans import training_scans
from prostate_uda.recipes.world import World, check_shared, splits

PSEUDO_VALUES = {**ZONE_VALUES, IGNORE: IGNORE}


@dataclass(frozen=True)
class ZoneWorld(World[SliceSet, Segmenter]):
    """Source and target of a prostate run; a set's images are axial slices.

    Attributes:
        pipeline: From files to slices.
    """

    pipeline: Pipeline

    def with_labels(self, cases: Sequence[Case]) -> SliceSet:
        """The target's slices with these cases' labels (pseudo-labels: 0, 1, 2, and 255 for none)."""
        named = [replace(case, values=PSEUDO_VALUES) for case in cases]
        return SliceSet.from_cases(named, replace(self.pipeline.reader, store=None))

    def everyone(self) -> dict[str, SliceSet]:
        """The training slices of both domains, of all processes' patients."""
        if idist.get_world_size() == 1:
            return {"source": self.source, "target": self.target}
        both = {"source": self.source_split, "target": self.target_split}
        return {role: SliceSet.from_cases(split.train, self.pipeline.reader) for role, split in both.items()}

    def segmenter(self, network: nn.Module) -> Segmenter:
        """The network over whole volumes, on their own grids."""
        inferer = SliceStackInferer(self.settings.depth, batch_size=16)
        return Segmenter(network, self.pipeline.preprocessing, inferer, next(network.parameters()).device)

    def judge(self, out: Path, record: Record, source_only: Segmenter, adapted: Segmenter, progress: Progress) -> None:
        """Case by case on the native grid; see :func:`~prostate_uda.recipes.judging.judge_run`."""
        judge_run(out, record, self, source_only, adapted, progress)

    def write_bundle(self, folder: Path, network: nn.Module, provenance: Mapping[str, Any], progress: Progress) -> None:
        """``bundles/prostate_zones_uda``, filled in."""
        final = FinalLogits(network)
        write_bundle(
            folder,
            network_config=network_config(self.settings.network, in_channels=self.settings.depth),
            state_dict=final.state_dict(),
            preprocessing_config=self.pipeline.config,
            depth=self.settings.depth,
            provenance=provenance,
            training_scans=training_scans(self.everyone(), "target", self.segmenter(final), progress),
        )


def _slices(title: str, cases: Sequence[Case], reader: CaseReader, progress: Progress) -> SliceSet:
    with progress.task(title, len(cases)) as task:
        return SliceSet.from_cases(cases, reader, progress=lambda _: task.advance())


def _check_test_cases(cases: Sequence[Case], channel: int, progress: Progress) -> None:
    """Read what is judged at the end once now: a damaged scan is to stop a run before it trains, not after.

    Raises:
        DataError: an image or label cannot be used, or they lie on different grids.
    """
    with progress.task("checking the test cases", len(cases)) as task:
        for case in cases:
            read_truth(case, read_image(case.image, channel))
            task.advance()


def _check_zones(source: SliceSet, settings: AdaptSettings, progress: Progress) -> None:
    """Refuse a source without both zones; warn where PZ lies in front of TZ (rows run anterior to posterior).

    Raises:
        DataError: no label of the source, in no process, holds PZ, or none holds TZ.
    """
    rows = [torch.nonzero(source.labels == zone)[:, 1].double() for zone in (PZ, TZ)]
    counts, sums = idist.all_reduce(torch.stack([row.new_tensor([len(row), row.sum()]) for row in rows])).T
    missing = [name for name, count in zip(("PZ", "TZ"), counts, strict=True) if not count]
    if missing:
        raise DataError(
            f"no label of the source holds {' or '.join(missing)}; both zones are needed, a whole gland's label is not "
            "enough"
        )
    behind, before = sums / counts
    if behind < before:
        named = settings.source_label_names
        mend = f"leave out --source-label-names {named}" if named else "say --source-label-names 1=TZ,2=PZ"
        progress.note(
            f"warning: the source's PZ lies in front of its TZ, which no prostate has: are the values exchanged? {mend}"
        )


def _tell_empty(source: SliceSet, progress: Progress) -> None:
    """Warn of source cases whose label is empty: all of their prostate is learned as background."""
    full = {source.cases[place] for place in source.foreground()}
    empty = [case for case in dict.fromkeys(source.cases) if case not in full]
    if empty:
        progress.note(
            f"warning: {len(empty)} labels of the source are empty, and their scans are learned as background: "
            f"{', '.join(empty[:4])}; leave them out, or give their labels"
        )


def zone_volumes(cases: Sequence[Case]) -> Tensor:
    """``(3,)`` float64, the mean mL of background, PZ and TZ in these cases' labels.

    Args:
        cases: Labelled, at least one.

    Raises:
        DataError: a label cannot be used.
    """
    return torch.stack([zone_amounts(case) for case in cases]).mean(dim=0)


def open_zones(settings: AdaptSettings, progress: Progress) -> ZoneWorld:
    """Find both domains' cases and read them; of several processes the first checks, and each reads its own patients.

    Raises:
        DataError: something is missing or cannot be used; it names the file.
        SettingsError: there are more processes than patients.
    """
    with together():
        with first_alone():
            source_split, target_split, channel = splits(settings)
            mine = own_cases(source_split.train, "source"), own_cases(target_split.train, "target")
            if is_first():
                check_run(settings, (source_split, target_split))
                check_shared(source_split, target_split, progress)
                _check_test_cases((*source_split.test, *target_split.test), channel, progress)
            pipeline = build_pipeline(settings.grid, settings.normalize, source_split.train, progress, channel=channel)
        source = _slices("reading the source", mine[0], pipeline.reader, progress)
        target = _slices("reading the target", mine[1], pipeline.reader, progress)
    _check_zones(source, settings, progress)
    _tell_empty(source, progress)
    return ZoneWorld(settings, source_split, target_split, source, target, pipeline)
