"""The bundle template: every name in it exists, and it is what the registries say."""

import json
from collections.abc import Iterator
from pathlib import Path
from pydoc import locate
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from monai.bundle import ComponentLocator, ConfigWorkflow
from monai.bundle.scripts import verify_net_in_out

from prostate_uda.data.preprocessing import WorkingGrid
from prostate_uda.recipes.bundle_folder import network_config, preprocessing_config, template

REPOSITORY = Path(__file__).resolve().parents[2]
REQUIRED = {
    *("schema", "version", "monai_version", "pytorch_version", "numpy_version", "required_packages_version"),
    *("task", "description", "authors", "copyright", "network_data_format"),
}
"""``required`` of meta_schema_20240725.json."""
TENSOR = {"type", "format", "num_channels", "spatial_shape", "dtype", "value_range"}
"""``required`` of a tensor there."""


def config(name: str) -> dict[str, Any]:
    return json.loads((template() / "configs" / name).read_text(encoding="utf-8"))


def strings(node: Any) -> Iterator[tuple[str, str]]:
    """Every key and its text, from all depths."""
    if isinstance(node, dict):
        for key, value in node.items():
            yield from [(key, value)] if isinstance(value, str) else strings(value)
    elif isinstance(node, list):
        for value in node:
            yield from [("", value)] if isinstance(value, str) else strings(value)


TARGETS = sorted({text for key, text in strings(config("inference.json")) if key == "_target_"})


def test_the_template_is_the_one_of_this_checkout() -> None:
    assert template() == REPOSITORY / "bundles" / "prostate_zones_uda"


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
    """What is evaluated are names, calls and paths: nothing is imported, looped over or defined."""
    for key, text in strings(config("inference.json")):
        if text.startswith("$"):
            assert key != "_target_"
            assert not {"import", "for", "lambda", "open", "exec", "eval"} & set(text[1:].replace("(", " ").split())


def test_metadata_has_what_the_schema_requires() -> None:
    metadata = config("metadata.json")
    assert set(metadata) >= REQUIRED
    assert metadata["schema"] == "https://project-monai.github.io/schema/meta_schema_20240725.json"
    assert metadata["version"] in metadata["changelog"]
    data = metadata["network_data_format"]
    assert all(set(tensor) >= TENSOR for part in ("inputs", "outputs") for tensor in data[part].values())


def test_the_defaults_are_those_of_the_registries() -> None:
    inference = config("inference.json")
    assert inference["network_def"]["network"] | {"_target_": ""} == network_config("deeplab-small", in_channels=1) | {
        "_target_": ""
    }
    assert inference["preprocessing"] == preprocessing_config(WorkingGrid(spacing_mm=1.5, size=96), "zscore")


def test_monai_finds_every_required_property(tmp_path: Path) -> None:
    nib.save(nib.Nifti1Image(np.eye(4, dtype=np.float32)[None], np.eye(4)), tmp_path / "scan.nii.gz")
    configs = template() / "configs"
    workflow = ConfigWorkflow(
        config_file=str(configs / "inference.json"),
        meta_file=str(configs / "metadata.json"),
        logging_file=False,
        workflow_type="infer",
        bundle_root=str(template()),
        dataset_dir=str(tmp_path),
        initialize=[],
    )
    workflow.initialize()
    assert workflow.check_properties() == []


@pytest.mark.filterwarnings("ignore:.*GHSA-873f-pvrv-4x83.*:UserWarning")
def test_the_network_gives_what_the_metadata_says() -> None:
    configs = template() / "configs"
    verify_net_in_out(
        net_id="network_def",
        meta_file=str(configs / "metadata.json"),
        config_file=str(configs / "inference.json"),
        device="cpu",
    )


def test_the_licence_is_the_repositorys() -> None:
    assert (template() / "LICENSE").read_text() == (REPOSITORY / "LICENSE").read_text()
