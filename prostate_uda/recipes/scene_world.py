"""Floor 5: a run of driving scenes: pictures that are read when training asks for them, PNG labels out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import nn

from prostate_uda.data.domains import Case, get_domain
from prostate_uda.data.scene_classes import TRAIN_VALUES
from prostate_uda.data.scene_images import check_same_size, read_scene, read_scene_label
from prostate_uda.data.scene_set import SceneReader, SceneSet
from prostate_uda.engines.observers import Progress
from prostate_uda.engines.scenes import SceneSegmenter
from prostate_uda.errors import DataError
from prostate_uda.networks import FinalLogits
from prostate_uda.recipes.bundle_folder import network_config
from prostate_uda.recipes.processes import first_alone, is_first, own_cases, together
from prostate_uda.recipes.record import Record
from prostate_uda.recipes.scene_bundle import write_scene_bundle
from prostate_uda.recipes.scene_judging import judge_scenes
from prostate_uda.recipes.settings import SCENE_ROWS, AdaptSettings
from prostate_uda.recipes.world import World, check_shared, splits


@dataclass(frozen=True)
class SceneWorld(World[SceneSet, SceneSegmenter]):
    """Source and target of a run of driving scenes; a set's images are pictures, resized as their data set is."""

    def with_labels(self, cases: Sequence[Case]) -> SceneSet:
        """The target's pictures with these cases' labels (pseudo-labels: train ids, and 255 for none)."""
        named = [replace(case, values=TRAIN_VALUES) for case in cases]
        return self.target.sharing(named)

    def segmenter(self, network: nn.Module) -> SceneSegmenter:
        """The network over whole pictures of the target."""
        return self.segmenter_of(network, self.settings.target)

    def segmenter_of(self, network: nn.Module, domain: str) -> SceneSegmenter:
        """The network over whole pictures of a domain, each resized as that domain's are."""
        return SceneSegmenter(network, resized(self.settings, domain), next(network.parameters()).device)

    def judge(
        self, out: Path, record: Record, source_only: SceneSegmenter, adapted: SceneSegmenter, progress: Progress
    ) -> None:
        """IoU by class over all pictures; see :func:`~prostate_uda.recipes.scene_judging.judge_scenes`."""
        source_segmenter = self.segmenter_of(source_only.network, self.settings.source)
        held_out = self.source_split.test, source_segmenter
        judge_scenes(out, record, self.shown(), (source_only, adapted), held_out, progress, self.settings)

    def write_bundle(
        self,
        folder: Path,
        network: nn.Module,
        provenance: Mapping[str, Any],
        progress: Progress,  # noqa: ARG002  nothing takes long here
    ) -> None:
        """``bundles/driving_scenes_uda``, filled in."""
        config = network_config(
            self.settings.network, in_channels=self.settings.channels, num_classes=len(self.settings.kind.classes)
        )
        write_scene_bundle(
            folder,
            network_config=config,
            state_dict=FinalLogits(network).state_dict(),
            size=resized(self.settings, self.settings.target),
            provenance=provenance,
        )


def resized(settings: AdaptSettings, domain: str) -> tuple[int, int]:
    """Height and width that a domain's pictures are resized to: its published size, as large as the crop asks for."""
    rows = settings.shape[0]
    height, width = get_domain(domain).resize
    full = SCENE_ROWS["full"]
    return round(height * rows / full), round(width * rows / full)


def open_scenes(settings: AdaptSettings, progress: Progress) -> SceneWorld:
    """Find both domains' pictures and read each file once; of several processes each reads those that it draws from.

    Raises:
        DataError: something is missing or cannot be used, or no label of the source names a class; it names the file.
        SettingsError: there are more processes than pictures.
    """
    with together():
        with first_alone():
            source_split, target_split, _ = splits(settings)
            mine = own_cases(source_split.train, "source"), own_cases(target_split.train, "target")
            if is_first():
                check_shared(source_split, target_split, progress)
                _check_test_scenes((*source_split.test, *target_split.test), progress)
        source, target = (
            _read(f"reading the {role}", cases, SceneReader(resized(settings, domain)), progress)
            for role, domain, cases in zip(("source", "target"), (settings.source, settings.target), mine, strict=True)
        )
        _check_labels(source)
    return SceneWorld(settings, source_split, target_split, source, target)


def _read(title: str, cases: Sequence[Case], reader: SceneReader, progress: Progress) -> SceneSet:
    with progress.task(title, len(cases)) as task:
        return SceneSet.from_cases(cases, reader, progress=lambda _: task.advance())


def _check_test_scenes(cases: Sequence[Case], progress: Progress) -> None:
    """Read what is judged at the end once now: a damaged picture is to stop a run before it trains, not after.

    Raises:
        DataError: a picture or label cannot be used, or their sizes differ.
    """
    with progress.task("checking the test cases", len(cases)) as task:
        for case in cases:
            read_scene(case.image)
            if case.label is not None:
                check_same_size(case.image, case.label)
                read_scene_label(case.label, case.values)
            task.advance()


def _check_labels(source: SceneSet) -> None:
    """Refuse a source whose labels, read by now, name no class at all.

    Raises:
        DataError: so it is.
    """
    if not source.foreground():
        raise DataError(f"none of the source's {len(source)} labels to learn from names a class; is it this data set?")
