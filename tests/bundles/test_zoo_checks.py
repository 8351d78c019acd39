"""What the model zoo's CI asks of a bundle (its ``ci/verify_bundle.py``), of a filled one and offline; and exports.

``verify_metadata`` skips its download where the schema's file is there. ``metadata_schema.json`` beside this file is
our own: it asks all that MONAI's of 2024-07-25 does, and more.
"""

import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from monai.bundle import ckpt_export, onnx_export, verify_metadata, verify_net_in_out

from tests.bundles.conftest import DEPTH, SIZE, network, write, write_scenes

SCHEMA = Path(__file__).with_name("metadata_schema.json")
pytestmark = pytest.mark.filterwarnings("ignore:.*GHSA-873f-pvrv-4x83.*:UserWarning")


@dataclass(frozen=True)
class Kind:
    """What is expected of a bundle."""

    write: Callable[[Path], Path]
    classes: int
    size: tuple[int, int]
    changelog: str


KINDS = {
    "zones": Kind(write, 3, (64, 64), "adapted from decathlon to folder with metacorrection"),
    "scenes": Kind(write_scenes, 19, SIZE, "adapted from synthia to cityscapes with advent"),
}


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> Kind:
    return KINDS[request.param]


@pytest.fixture
def filled(kind: Kind, tmp_path: Path) -> Path:
    return kind.write(tmp_path / "bundle")


def files(bundle: Path) -> dict[str, str]:
    return {"meta_file": str(bundle / "configs/metadata.json"), "config_file": str(bundle / "configs/inference.json")}


def test_the_files_that_the_zoo_wants_are_there(filled: Path) -> None:
    for name in ("LICENSE", "configs/metadata.json", "configs/inference.json", "models/model.pt", "docs/README.md"):
        assert (filled / name).is_file()
    largest = max(path.stat().st_size for path in filled.rglob("*"))
    assert largest < 25 * 1024**2  # beyond, the zoo wants large_files.yml


def test_the_version_has_its_changelog(filled: Path, kind: Kind) -> None:
    metadata = json.loads((filled / "configs/metadata.json").read_text(encoding="utf-8"))
    assert metadata["changelog"][metadata["version"]] == kind.changelog


def verify(metadata: str, folder: Path) -> None:
    schema = shutil.copy(SCHEMA, folder / "schema.json")
    digest = hashlib.sha256(SCHEMA.read_bytes()).hexdigest()
    verify_metadata(meta_file=metadata, filepath=schema, hash_val=digest, hash_type="sha256")


def test_the_metadata_fits_the_schema(filled: Path, tmp_path: Path) -> None:
    verify(files(filled)["meta_file"], tmp_path)


@pytest.mark.parametrize(
    ("key", "value"),
    [("version", None), ("supported_apps", ["monai-label"]), ("eval_metrics", None), ("monai_version", 1.6)],
)
def test_the_schema_refuses(filled: Path, tmp_path: Path, key: str, value: object) -> None:
    path = filled / "configs/metadata.json"
    metadata = json.loads(path.read_text(encoding="utf-8"))
    metadata = {**metadata, key: value} if value is not None else {k: v for k, v in metadata.items() if k != key}
    path.write_text(json.dumps(metadata), encoding="utf-8")
    with pytest.raises(ValueError, match="Failed validating"):
        verify(str(path), tmp_path)


def test_the_network_gives_what_the_metadata_says(filled: Path) -> None:
    verify_net_in_out(net_id="network_def", **files(filled), device="cpu", bundle_root=str(filled))


def test_the_network_of_the_metadata_is_checked_at_all(filled: Path, kind: Kind) -> None:
    path = filled / "configs/metadata.json"
    metadata = json.loads(path.read_text(encoding="utf-8"))
    metadata["network_data_format"]["outputs"]["pred"]["num_channels"] = 4
    path.write_text(json.dumps(metadata), encoding="utf-8")
    with pytest.raises(ValueError, match=f"output channel number `{kind.classes}`"):
        verify_net_in_out(net_id="network_def", **files(filled), device="cpu")


@pytest.mark.parametrize("shape", [(1, DEPTH, 64, 64), (5, DEPTH, 72, 104)])
def test_torchscript_gives_the_same(filled: Path, kind: Kind, shape: tuple[int, ...]) -> None:
    """Also for a batch and a size that it was not traced with."""
    export = {"net_id": "network_def", "ckpt_file": str(filled / "models/model.pt"), **files(filled)}
    ckpt_export(filepath=str(filled / "models/model.ts"), **export, bundle_root=str(filled))
    extra = {"metadata.json": "", "inference.json": ""}
    loaded = torch.jit.load(filled / "models/model.ts", _extra_files=extra)
    assert not loaded.training
    image = torch.randn(*shape, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected = network(kind.classes)(image)
        assert torch.allclose(loaded(image), expected, atol=1e-5 * float(expected.abs().max()))
    assert json.loads(extra["metadata.json"])["version"] == "0.1.0"
    assert "network_def" in json.loads(extra["inference.json"])


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")
def test_onnx_gives_the_same(filled: Path, kind: Kind) -> None:
    onnxruntime = pytest.importorskip("onnxruntime", reason="the onnx packages are not installed")
    pytest.importorskip("onnxscript", reason="the onnx packages are not installed")
    export = {"net_id": "network_def", "ckpt_file": str(filled / "models/model.pt"), **files(filled)}
    onnx_export(filepath=str(filled / "models/model.onnx"), **export)
    session = onnxruntime.InferenceSession(str(filled / "models/model.onnx"), providers=["CPUExecutionProvider"])
    image = torch.randn(1, DEPTH, *kind.size, generator=torch.Generator().manual_seed(1))
    (logits,) = session.run(None, {session.get_inputs()[0].name: image.numpy()})
    with torch.no_grad():
        expected = network(kind.classes)(image)
    assert torch.allclose(torch.from_numpy(logits), expected, atol=1e-3 * float(expected.abs().max()))
    assert torch.equal(torch.from_numpy(logits).argmax(1), expected.argmax(1))
