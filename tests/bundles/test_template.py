"""The bundle template: every name in it exists, it is what the registries say, and it passes MONAI's own checks."""

import json
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from pydoc import locate
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from monai.bundle import ComponentLocator, ConfigWorkflow
from PIL import Image

from prostate_uda.data.preprocessing import WorkingGrid
from prostate_uda.data.scene_classes import SCENE_CLASSES
from prostate_uda.errors import SettingsError
from prostate_uda.methods import METHODS
from prostate_uda.networks import FinalLogits
from prostate_uda.networks.voting import Voting
from prostate_uda.recipes.bundle_folder import network_config, preprocessing_config, template
from prostate_uda.recipes.bundle_reading import OF_SCENES
from prostate_uda.transforms import AUGMENTATIONS

REPOSITORY = Path(__file__).resolve().parents[2]
BUNDLES = {
    "prostate_zones_uda": ("inference.json", "evaluate.json", "train.json", "adapt.json", "multi_gpu_adapt.json"),
    "driving_scenes_uda": ("inference.json", "evaluate.json"),
}
NAMES = [(bundle, name) for bundle, names in BUNDLES.items() for name in names]


def config(name: str, bundle: str = "prostate_zones_uda") -> dict[str, Any]:
    return json.loads((template(bundle) / "configs" / name).read_text(encoding="utf-8"))


def strings(node: Any) -> Iterator[tuple[str, str]]:
    """Every key and its text, from all depths."""
    if isinstance(node, dict):
        for key, value in node.items():
            yield from [(key, value)] if isinstance(value, str) else strings(value)
    elif isinstance(node, list):
        for value in node:
            yield from [("", value)] if isinstance(value, str) else strings(value)


ALL = [pair for bundle, name in NAMES for pair in strings(config(name, bundle))]
TARGETS = sorted({text for key, text in ALL if key == "_target_"})


def test_the_template_is_the_one_of_this_checkout() -> None:
    assert {path.name for path in (REPOSITORY / "bundles").iterdir()} == set(BUNDLES)
    assert template() == REPOSITORY / "bundles" / "prostate_zones_uda"
    for name in BUNDLES:
        assert template(name) == REPOSITORY / "bundles" / name
    with pytest.raises(SettingsError, match="template lung_zones is not installed"):
        template("lung_zones")


@pytest.mark.parametrize("bundle", BUNDLES)
def test_every_config_is_looked_at(bundle: str) -> None:
    found = {path.name for path in (template(bundle) / "configs").iterdir()}
    assert found == {*BUNDLES[bundle], "metadata.json", "logging.conf"}


def test_a_wheel_carries_every_file_of_every_template() -> None:
    """``data-files`` of pyproject.toml puts each where :func:`template` looks: the bundle's name above ``configs``."""
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))
    carried = {
        f"{place}/{path.name}": path.relative_to(REPOSITORY).as_posix()
        for place, patterns in project["tool"]["setuptools"]["data-files"].items()
        for pattern in patterns
        for path in REPOSITORY.glob(pattern)
    }
    for path in (path for path in (REPOSITORY / "bundles").rglob("*") if path.is_file()):
        inside = path.relative_to(REPOSITORY).as_posix()
        assert carried.get(f"share/prostate-uda/{inside}") == inside


@pytest.mark.parametrize("target", TARGETS)
def test_every_target_is_ours_or_stock_monai(target: str) -> None:
    if "." in target:
        assert target.startswith("prostate_uda.")
        assert callable(locate(target))
    else:
        modules = ComponentLocator().get_component_module_name(target)
        assert isinstance(modules, str)
        assert modules.startswith("monai.")


def test_there_is_no_logic_in_the_json() -> None:
    """What is evaluated are names, calls and paths: nothing is imported, looped over, computed or defined."""
    expressions = [(key, text[1:]) for key, text in ALL if text.startswith("$")]
    assert expressions
    for key, text in expressions:
        assert key != "_target_"
        plain = re.sub(r"'[^']*'", "''", text)
        assert not {"import", "for", "lambda", "open", "exec", "eval", "and", "or", "not"} & set(
            re.findall(r"\w+", plain)
        )
        assert not set("*/%<>!|&^~;-") & set(plain), text
        assert "+" not in plain or re.fullmatch(r"@\w+ \+ ''", plain), text  # a folder and a name in it


@pytest.mark.parametrize(
    ("bundle", "names"),
    [
        ("prostate_zones_uda", ("inference.json",)),
        ("prostate_zones_uda", ("inference.json", "evaluate.json")),
        ("prostate_zones_uda", ("train.json",)),
        ("prostate_zones_uda", ("train.json", "adapt.json")),
        ("driving_scenes_uda", ("inference.json",)),
        ("driving_scenes_uda", ("inference.json", "evaluate.json")),
    ],
)
def test_every_reference_leads_somewhere(bundle: str, names: tuple[str, ...]) -> None:
    ids = {key for name in names for key in _ids(config(name, bundle))}
    for name in names:
        for _, text in strings(config(name, bundle)):
            for reference in re.findall(r"@(\w+(?:::\w+)*)", text):
                assert reference in ids, f"{name}: @{reference}"


def _ids(node: Any, above: str = "") -> Iterator[str]:
    if isinstance(node, dict):
        for key, value in node.items():
            yield f"{above}{key}"
            yield from _ids(value, f"{above}{key}::")


def test_the_defaults_are_those_of_the_registries() -> None:
    inference, train, adapt = (config(name) for name in ("inference.json", "train.json", "adapt.json"))
    network = network_config("deeplab-small", in_channels=1) | {"_target_": "prostate_uda.networks.DeepLab"}
    for one in (inference, train):
        assert one["network_def"]["network"] == network
        assert one["preprocessing"] == preprocessing_config(WorkingGrid(spacing_mm=1.5, size=96), "zscore")
    assert train["depth"] == inference["inferer"]["depth"] == 1
    assert {train["method"]["name"], adapt["method"]["name"]} == {"source-only", "recommended"} <= set(METHODS)
    assert locate(train["train"]["preprocessing"]["_target_"]) is AUGMENTATIONS["strong"]


def test_the_scenes_defaults_are_those_of_the_registries() -> None:
    inference, metadata = (config(name, "driving_scenes_uda") for name in ("inference.json", "metadata.json"))
    network = network_config("deeplab-small", in_channels=3, num_classes=19)
    assert inference["network_def"]["network"] == network | {"_target_": "prostate_uda.networks.DeepLab"}
    assert inference["preprocessing"]["_target_"] == OF_SCENES
    data = metadata["network_data_format"]
    assert list(data["outputs"]["pred"]["channel_def"].values()) == list(SCENE_CLASSES)
    for tensor in (data["inputs"]["image"], data["outputs"]["pred"]):
        assert tensor["spatial_shape"] == inference["preprocessing"]["size"]
    listed = ", ".join(f"{place} {name}" for place, name in enumerate(SCENE_CLASSES))
    assert metadata["label_classes"] == f"{listed}, 255 not judged"
    assert metadata["pred_classes"] == f"19 channels: {listed}"


@pytest.mark.parametrize("names", [("inference.json",), ("inference.json", "evaluate.json")])
def test_monai_finds_every_property_of_inference(names: tuple[str, ...], tmp_path: Path) -> None:
    nib.save(nib.Nifti1Image(np.eye(4, dtype=np.float32)[None], np.eye(4)), tmp_path / "scan.nii.gz")
    found = workflow(names, "infer", dataset_dir=str(tmp_path), labels_dir=str(tmp_path), initialize=[])
    found.initialize()
    assert found.check_properties() == []


@pytest.mark.parametrize("names", [("inference.json",), ("inference.json", "evaluate.json")])
def test_monai_finds_every_property_of_inference_of_scenes(names: tuple[str, ...], tmp_path: Path) -> None:
    pixels = np.zeros((8, 16, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "one.png")
    Image.fromarray(pixels[..., 0]).save(tmp_path / "one_gtFine_labelIds.png")
    places = {"dataset_dir": str(tmp_path), "labels_dir": str(tmp_path), "initialize": []}
    found = workflow(names, "infer", bundle="driving_scenes_uda", **places)
    found.initialize()
    assert found.check_properties() == []
    assert len(found.dataset) == 1


def test_monai_finds_every_property_of_training(phantoms: dict[str, Path], tmp_path: Path) -> None:
    found = workflow(("train.json",), "train", source_dir=str(phantoms["source"]), output_dir=str(tmp_path))
    found.initialize()
    assert found.check_properties() == []
    assert len(found.train_dataset) == len(found.train_dataset_data) > len(found.val_dataset)
    assert found.max_epochs * found.trainer.state.epoch_length == 600


def test_monai_finds_every_property_of_adaptation(phantoms: dict[str, Path], tmp_path: Path) -> None:
    names, steps = ("train.json", "adapt.json"), {"epochs": 1, "epoch_length": 1, "predictor_steps": 1, "batch_size": 2}
    places = {"source_dir": str(phantoms["source"]), "target_dir": str(phantoms["target"]), "output_dir": str(tmp_path)}
    found = workflow(names, "train", **places, **steps, source_network="@network_def")
    found.initialize()
    assert found.check_properties() == []
    assert found.trainer.method == METHODS["recommended"]()


def test_pseudo_labels_are_of_what_the_method_asks(phantoms: dict[str, Path], tmp_path: Path) -> None:
    places = {"source_dir": str(phantoms["source"]), "target_dir": str(phantoms["target"]), "output_dir": str(tmp_path)}
    changes = {**places, "method::name": "mlsl", "warm_up": False, "source_network": "@network_def"}
    teacher = workflow(("train.json", "adapt.json"), "train", **changes).parser.get_parsed_content(
        "pseudo::labels::teacher"
    )
    assert isinstance(teacher.network, Voting)
    assert isinstance(teacher.network.network, FinalLogits)


def workflow(
    names: tuple[str, ...], kind: str, *, bundle: str = "prostate_zones_uda", **changes: Any
) -> ConfigWorkflow:
    configs = template(bundle) / "configs"
    return ConfigWorkflow(
        config_file=[str(configs / name) for name in names],
        meta_file=str(configs / "metadata.json"),
        logging_file=False,
        workflow_type=kind,
        bundle_root=str(template(bundle)),
        **({"device": "$torch.device('cpu')"} | changes),
    )


@pytest.mark.parametrize("bundle", BUNDLES)
def test_the_licence_is_the_repositorys(bundle: str) -> None:
    assert (template(bundle) / "LICENSE").read_text() == (REPOSITORY / "LICENSE").read_text()
