"""What the configs call: cases, slices, weights put in place, pseudo-labels made once, mistakes in a bundle's words."""

import logging
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch

from prostate_uda import bundle
from prostate_uda.data.preprocessing import WorkingGrid, preprocessing
from prostate_uda.engines.bundle_slices import slices_of, volumes_of
from prostate_uda.engines.bundle_training import domain_predictor, frozen_teacher, round_start, trainer
from prostate_uda.engines.evaluation import Segmenter
from prostate_uda.engines.inference import SliceStackInferer
from prostate_uda.errors import CheckpointError, DataError, SettingsError, UnknownNameError
from prostate_uda.maths.selection import Selection
from prostate_uda.methods import MetaCorrection, Optimization, SelfTraining, SourceOnly, build_method
from prostate_uda.networks import FinalLogits
from prostate_uda.recipes import evaluate
from prostate_uda.transforms.normalization import zscore
from tests.builders import tiny_deeplab

GRID = preprocessing(WorkingGrid(spacing_mm=3.0, size=48), zscore())
CPU = torch.device("cpu")


def batches(count: int, seed: int = 0) -> list[dict[str, torch.Tensor]]:
    rng = torch.Generator().manual_seed(seed)
    return [
        {
            "image": torch.randn(2, 1, 32, 32, generator=rng),
            "label": torch.randint(3, (2, 1, 32, 32), generator=rng).float(),
        }
        for _ in range(count)
    ]


def test_lists_of_json_become_the_tuples_of_a_method() -> None:
    assert bundle.method("metacorrection", level_weights=[0.3, 1]) == MetaCorrection(level_weights=(0.3, 1))
    with pytest.raises(SettingsError, match="has no option 'levels'"):
        bundle.method("metacorrection", levels=[1])
    with pytest.raises(UnknownNameError):
        bundle.method("magic")


def test_labelled_cases_are_split_by_patient(phantoms: dict[str, Path]) -> None:
    split = bundle.labelled_cases(str(phantoms["source"]), holdout=0.3)
    assert not {case.id for case in split.train} & {case.id for case in split.test}
    assert all(case.label is not None for case in (*split.train, *split.test))
    named = bundle.labelled_cases(str(phantoms["source"]), label_names="1=TZ,2=PZ")
    assert dict(named.train[0].values) == {0: 0, 1: 2, 2: 1}
    entry = volumes_of(named.train)[0]
    assert entry["label_values"] == {0: 0, 1: 2, 2: 1}
    true, swapped = (GRID(dict(volumes_of(one.train)[0]))["label"] for one in (split, named))
    assert torch.equal(true == 1, swapped == 2)


def test_the_targets_labels_are_not_looked_at(phantoms: dict[str, Path]) -> None:
    cases = bundle.unlabelled_cases(str(phantoms["target"]))
    assert len(cases) == 4
    assert all(case.label is None for case in cases)


def test_mistakes_name_the_bundles_settings(tmp_path: Path, phantoms: dict[str, Path]) -> None:
    with pytest.raises(DataError, match="--source_dir"):
        bundle.labelled_cases(str(tmp_path / "nowhere"))
    with pytest.raises(DataError, match="--source_labels_dir"):
        bundle.labelled_cases(str(phantoms["source"] / "imagesTr"))
    with pytest.raises(DataError, match="--target_dir"):
        bundle.unlabelled_cases(str(tmp_path))
    with pytest.raises(SettingsError, match="--labels_dir"):
        bundle.label_folder(None)
    with pytest.raises(DataError, match="is not a folder"):
        bundle.label_folder(str(tmp_path / "nowhere"))
    assert bundle.label_folder(str(tmp_path)) == tmp_path


def test_slices_are_a_monai_data_list(phantoms: dict[str, Path]) -> None:
    split = bundle.labelled_cases(str(phantoms["source"]))
    slices = slices_of(split.train, GRID, depth=3)
    image, label = GRID(volumes_of(split.train)[0])["image"][0], GRID(volumes_of(split.train)[0])["label"][0]
    assert len(slices) > 2 * image.shape[2]
    middle = slices[1]
    assert torch.equal(middle["image"], image[:, :, :3].permute(2, 1, 0).as_tensor())
    assert torch.equal(middle["label"][0], label[:, :, 1].T.as_tensor())
    assert [one["image"].shape for one in slices[:2]] == [(3, 48, 48), (3, 48, 48)]
    assert torch.equal(slices[-1]["label"], slices[len(slices) - 1]["label"])
    with pytest.raises(IndexError):
        slices[len(slices)]
    unlabelled = slices_of(bundle.unlabelled_cases(str(phantoms["target"]))[:1], GRID)
    assert torch.all(unlabelled[0]["label"] == 255)
    with pytest.raises(SettingsError, match="odd"):
        slices_of(split.train, GRID, depth=2)


def test_weights_are_put_in_place_and_what_was_there_is_kept(tmp_path: Path) -> None:
    place, kept = tmp_path / "models" / "model.pt", tmp_path / "models" / "model_source.pt"
    first, second, third = (FinalLogits(tiny_deeplab(seed)) for seed in (1, 2, 3))
    for network in (first, second, third):
        bundle.put_weights(network, str(place), str(kept))
    found = {path.name: torch.load(path, weights_only=True) for path in place.parent.iterdir()}
    assert set(found) == {"model.pt", "model_source.pt", "model_source_2.pt"}
    for name, network in (("model_source.pt", first), ("model_source_2.pt", second), ("model.pt", third)):
        assert all(torch.equal(found[name][key], value) for key, value in network.state_dict().items())
    bundle.put_weights(str(kept), str(place), str(kept))  # a file in place of a network
    assert place.read_bytes() == kept.read_bytes()


def test_a_failure_leaves_the_weights(tmp_path: Path) -> None:
    place = tmp_path / "model.pt"
    bundle.put_weights(FinalLogits(tiny_deeplab()), str(place), str(tmp_path / "kept.pt"))
    before = place.read_bytes()
    with pytest.raises(SettingsError, match="cannot be written"):
        bundle.put_weights(str(tmp_path / "nowhere.pt"), str(place), str(tmp_path / "kept.pt"))
    assert place.read_bytes() == before
    assert list(tmp_path.iterdir()) == [place]


def test_only_weights_of_the_network_are_loaded(tmp_path: Path) -> None:
    place = tmp_path / "model.pt"
    with pytest.raises(CheckpointError, match=r"train them first with configs/train\.json"):
        bundle.with_weights(FinalLogits(tiny_deeplab()), str(place), CPU)
    saved = FinalLogits(tiny_deeplab(5))
    torch.save(saved.state_dict(), place)
    loaded = bundle.with_weights(FinalLogits(tiny_deeplab(6)), str(place), CPU)
    assert all(torch.equal(value, saved.state_dict()[name]) for name, value in loaded.state_dict().items())
    torch.save(tiny_deeplab().state_dict(), place)
    with pytest.raises(CheckpointError, match="does not hold the weights of network_def"):
        bundle.with_weights(FinalLogits(tiny_deeplab()), str(place), CPU)
    place.write_bytes(b"no weights")
    with pytest.raises(CheckpointError, match="does not hold the weights"):
        bundle.with_weights(FinalLogits(tiny_deeplab()), str(place), CPU)


def labelled(folder: Path, phantoms: dict[str, Path], seed: int, **changes: object) -> bundle.PseudoLabels:
    teacher = Segmenter(FinalLogits(tiny_deeplab(seed)), GRID, SliceStackInferer(), CPU)
    cases = bundle.unlabelled_cases(str(phantoms["target"]))[:2]
    settings = {"method": build_method("recommended"), "source": bundle.labelled_cases(str(phantoms["source"])).train}
    return bundle.pseudo_labelled(teacher=teacher, cases=cases, folder=str(folder), **(settings | changes))


def test_pseudo_labels_are_of_the_network_at_hand(tmp_path: Path, phantoms: dict[str, Path]) -> None:
    """Files of an earlier call, another network's, are not taken for this one's."""
    first = labelled(tmp_path, phantoms, 1)
    files = [case.label for case in first.cases]
    assert [path.parent for path in files if path] == [tmp_path / "pseudo_labels" / "round_1"] * 2
    before = [np.asarray(nib.load(path).dataobj) for path in files]
    assert all(set(np.unique(one)) <= {0, 1, 2, 255} for one in before)
    labelled(tmp_path, phantoms, 2)
    after = [np.asarray(nib.load(path).dataobj) for path in files]
    assert any(not np.array_equal(*pair) for pair in zip(before, after, strict=True))
    slices = slices_of(first.cases, GRID)
    assert {*torch.unique(slices[:][0]["label"]).tolist()} <= {0, 1, 2, 255}


def test_the_rule_is_the_methods_or_a_threshold(tmp_path: Path, phantoms: dict[str, Path]) -> None:
    found = labelled(tmp_path, phantoms, 1, method=SelfTraining(), threshold=0.9)
    assert found.selection == Selection(threshold=0.9)
    assert found.thresholds.tolist() == pytest.approx([0.9] * 3)
    with pytest.raises(SettingsError, match="beside the method's own rule"):
        labelled(tmp_path, phantoms, 1, threshold=0.9)
    none = labelled(tmp_path / "none", phantoms, 1, method=build_method("entropy"))
    assert all(case.label is None for case in none.cases)
    assert not (tmp_path / "none").exists()


def test_a_trainer_trains_all_heads_over_its_steps() -> None:
    network = FinalLogits(tiny_deeplab())
    before = {name: value.clone() for name, value in network.state_dict().items()}
    made = trainer(
        max_epochs=2, epoch_length=3, device=CPU, network=network, method=SourceOnly(), optimization=Optimization(),
        source_loader=batches(2),
    )  # fmt: skip
    made.run()
    assert made.adaptation.step == 6
    assert made.adaptation.optimization.total_steps == 6
    moved = {name for name, value in network.state_dict().items() if not torch.equal(value, before[name])}
    assert {name for name, _ in network.named_parameters() if "heads" in name} <= moved


def test_a_round_leaves_its_teacher_and_ends_where_the_recipes_would() -> None:
    """Warm-up, teacher with its confusion, adaptation: the copies are apart, and the state holds the counted start."""
    source, method = FinalLogits(tiny_deeplab()), build_method("recommended")
    optimization, loaders = Optimization(), {"source_loader": batches(2), "target_loader": batches(3, 1)}
    predictor = domain_predictor(
        network=source, method=method, warm_up=True, optimization=optimization, steps=2, **loaders
    )
    start = round_start(source, predictor, True)
    assert predictor is not None
    assert start is predictor.network is not source
    assert round_start(source, predictor, False) is source
    assert all(torch.equal(a, b) for a, b in zip(source.parameters(), tiny_deeplab().parameters(), strict=True))
    teacher = frozen_teacher(
        network=start, method=method, selection=method.selection(1), thresholds=torch.full((3,), 0.3),
        source_loader=batches(2),
    )  # fmt: skip
    assert teacher is not None
    assert teacher.confusion is not None
    assert 0 < int(teacher.confusion.sum()) <= 2 * 2 * 32 * 32
    made = trainer(
        max_epochs=1, epoch_length=2, device=CPU, network=FinalLogits(tiny_deeplab(4)), method=method,
        optimization=optimization, domain_predictor=predictor, teacher=teacher, **loaders,
    )  # fmt: skip
    made.run()
    assert "ntm_start" in made.adaptation.tensors
    assert not any(value.requires_grad for value in teacher.parameters())


def test_what_nobody_asks_for_is_not_made() -> None:
    network, optimization = FinalLogits(tiny_deeplab()), Optimization()
    loaders = {"source_loader": batches(1), "target_loader": batches(1)}
    plain = {"network": network, "optimization": optimization, **loaders}
    assert domain_predictor(method=SelfTraining(), warm_up=False, steps=5, **plain) is None
    assert domain_predictor(method=MetaCorrection(), warm_up=True, steps=0, **plain) is None
    thresholds = torch.ones(3)
    assert (
        frozen_teacher(
            network=network, method=SelfTraining(), selection=Selection(), thresholds=thresholds, source_loader=[]
        )
        is None
    )


def test_a_trainers_mistakes_are_told() -> None:
    settings = {"device": CPU, "method": SourceOnly(), "optimization": Optimization(), "source_loader": batches(1)}
    with pytest.raises(SettingsError, match="0 epochs"):
        trainer(max_epochs=0, epoch_length=1, network=FinalLogits(tiny_deeplab()), **settings)
    with pytest.raises(SettingsError, match="wrap the network in FinalLogits"):
        trainer(max_epochs=1, epoch_length=1, network=tiny_deeplab(), **settings)


def test_the_judgement_is_that_of_evaluate(
    tmp_path: Path, phantoms: dict[str, Path], caplog: pytest.LogCaptureFixture
) -> None:
    truths = phantoms["target"] / "labelsTr"
    (tmp_path / "zones").mkdir()
    for path in truths.iterdir():
        image = nib.load(path)
        moved = np.roll(np.asarray(image.dataobj), 2, axis=0).astype(np.uint8)
        name = path.name.replace(".nii.gz", "_zones.nii.gz")
        nib.save(nib.Nifti1Image(moved, image.affine), tmp_path / "zones" / name)
    with caplog.at_level(logging.INFO, logger="prostate_uda.bundle"):
        means = bundle.judge_folder(str(tmp_path / "zones"), truths, str(tmp_path / "ours.csv"))
    rows, expected = evaluate(tmp_path / "zones", truths, out=tmp_path / "theirs.csv")
    assert means == expected
    assert 0 < means["PZ"] < 1
    assert (tmp_path / "ours.csv").read_text() == (tmp_path / "theirs.csv").read_text()
    told = [record.getMessage() for record in caplog.records]
    assert f"WP_hd95_mm {rows[0]['WP_hd95_mm']:.3f}" in told[0]
    assert f"mean of 3 cases: PZ {means['PZ']:.3f}" in told[-1]


def test_one_process_alone_is_no_group(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(SettingsError, match="torchrun"):
        bundle.join_processes(CPU)
    assert bundle.own_device().type in ("cpu", "cuda")
