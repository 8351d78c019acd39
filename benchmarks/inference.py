"""Seconds per case of inference, from a file to labels on its own grid, beside MONAI's stock ways.

    python benchmarks/inference.py [--quick] [--device cuda] [--repeats 3] [--out FILE]

One process, the threads that torch takes, weights as they are drawn: time does not depend on them. On a GPU the
networks and what MONAI's stock ways do after them are computed there, files and our way back on the CPU. The engines:

* ``prostate-uda``: what ``infer`` does with a scan before it writes; with all files of a review written; with mirrored
  slices; in bfloat16; and where the gland is outside of the square and has to be followed (three looks).
* ``MONAI SliceInferer``: the network as it is, working grid and normalization through MONAI's stock window of slices
  and ``Invertd``, as a bundle of stock parts would do it.
* ``zoo 3D U-Net``: the configuration of the model zoo's ``prostate_mri_anatomy``: 0.5 mm isotropic, windows of 96³ with
  overlap 0.5, argmax, largest component, ``Invertd``.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import torch
from monai.inferers import Inferer, SliceInferer, SlidingWindowInferer
from monai.networks.nets import UNet
from monai.transforms import (
    AsDiscreted,
    Compose,
    EnsureChannelFirstd,
    Invertd,
    KeepLargestConnectedComponentd,
    LoadImaged,
    NormalizeIntensityd,
    Orientationd,
    ScaleIntensityd,
    Spacingd,
)
from tables import command, name_of, place
from torch import nn

from prostate_uda.data.preprocessing import WorkingGrid
from prostate_uda.engines.scans import ScanSegmenter
from prostate_uda.networks import FinalLogits, build_network
from prostate_uda.recipes.bundle_folder import network_config, preprocessing_config, write_bundle
from prostate_uda.recipes.bundle_reading import Bundle, load_segmenter, open_bundle
from prostate_uda.recipes.devices import pick_device
from prostate_uda.recipes.infer import InferSettings, open_segmenter
from prostate_uda.recipes.record import versions, write_json
from prostate_uda.recipes.scan_results import Scan, write_results

SHAPE, SPACING = (320, 320, 20), (0.6, 0.6, 4.0)
"""As most of Decathlon's Task05 are; in mm."""
GRID = WorkingGrid(0.8, 192)
NETWORKS = ("deeplab-resnet50", "deeplab-resnet101")
ZOO = "zoo 3D U-Net"


def main() -> None:
    """Measure, write and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3, help="of each engine but the 3D U-Net, which runs once")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--quick", action="store_true", help="the small network alone, once")
    parser.add_argument("--out", type=Path, help="default: results/, or runs/ with --quick")
    given = parser.parse_args()
    device = pick_device(given.device)
    script = "inference" if device.type == "cpu" else f"inference_{device.type}"
    out = place(script, given.out, quick=given.quick)
    networks, repeats = (("deeplab-small",), 1) if given.quick else (NETWORKS, given.repeats)
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        scan = a_scan(Path(folder) / "scan.nii.gz")
        work = zoo_unet(scan, device)
        if device.type != "cpu":
            work()  # the first pass starts the device
        zoo = timed(work, 1, device)
        engines = [(ZOO, "unet-3d", lambda: zoo)]
        engines += [
            (engine, name, lambda work=work: timed(work, repeats, device))
            for name in networks
            for engine, work in ways(a_bundle(name, Path(folder)), scan, Path(folder) / "out", device).items()
        ]
        for engine, name, seconds in engines:
            rows.append(row(engine, name, seconds(), zoo))
            print("{engine}, {network}: {seconds_per_case} s, {ratio_to_zoo_unet} times as fast".format_map(rows[-1]))
    told = {"command": command("inference"), "device": name_of(device), "versions": versions()}
    write_json(out, {**told, "rows": rows})


def row(engine: str, network: str, seconds: float, zoo: float) -> dict[str, Any]:
    """As the results have it."""
    told = {"engine": engine, "network": network, "shape": list(SHAPE), "seconds_per_case": round(seconds, 3)}
    return {**told, "ratio_to_zoo_unet": round(zoo / seconds, 1)}


def timed(work: Callable[[], object], repeats: int, device: torch.device) -> float:
    """Median seconds until the device is done; the first turn warms up where there are several."""
    seconds = []
    for _ in range(repeats + (repeats > 1)):
        finish(device)
        start = time.perf_counter()
        work()
        finish(device)
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds[repeats > 1 :])


def finish(device: torch.device) -> None:
    """Waits until the device has done what it was told."""
    if device.type != "cpu":
        torch.accelerator.synchronize(device)


def a_scan(path: Path) -> Path:
    """Noise on the grid of a usual 3T T2 series."""
    noise = np.random.default_rng(0).normal(300, 60, SHAPE).astype(np.float32)
    nib.save(nib.Nifti1Image(noise, np.diag((-SPACING[0], -SPACING[1], SPACING[2], 1.0))), path)
    return path


def a_bundle(name: str, folder: Path) -> Bundle:
    """An untrained network as ``adapt`` would leave it."""
    network = FinalLogits(build_network(name, in_channels=1, num_classes=3, generator=torch.Generator().manual_seed(0)))
    written = write_bundle(
        folder / name,
        network_config=network_config(name, in_channels=1),
        state_dict=network.state_dict(),
        preprocessing_config=preprocessing_config(GRID, "zscore"),
        depth=1,
        provenance={},
    )
    return open_bundle(written)


def ways(bundle: Bundle, scan: Path, out: Path, device: torch.device) -> dict[str, Callable[[], object]]:
    """Every engine for the same weights."""
    still = InferSettings(device=str(device), follow=False)
    plain, mirrored, half = (
        open_segmenter(bundle, settings, device)
        for settings in (still, replace(still, flips=True), replace(still, precision="bf16"))
    )
    stock_parts = load_segmenter(bundle, device)
    following = replace(plain, network=NowhereBut(plain.network), follow=True)
    return {
        "prostate-uda": lambda: plain(scan),
        "prostate-uda, all files of a review": lambda: write_results(
            Scan("scan", scan, None, None), plain, bundle, out, review=True
        ),
        "prostate-uda, bf16": lambda: half(scan),
        "prostate-uda, mirrored slices, too": lambda: mirrored(scan),
        "prostate-uda, gland followed": lambda: following(scan),
        "MONAI SliceInferer": lambda: stock(stock_parts, scan),
    }


class NowhereBut(nn.Module):
    """A network whose answer is a gland near one corner of what it sees: it is looked for, and followed."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Logits."""
        logits = 0 * self.network(image)
        logits[:, 0] += 5
        if image.shape[-1] != GRID.size:
            logits[:, 1, 4:24, 4:24] += 10
        return logits


def stock(segmenter: ScanSegmenter, scan: Path) -> torch.Tensor:
    """The same work by MONAI's own parts after our preprocessing."""
    inferer = SliceInferer(roi_size=(GRID.size, GRID.size), spatial_dim=2, sw_batch_size=4)
    work = Stock(segmenter.preprocessing, inferer, segmenter.network, segmenter.device, argmax_first=False)
    return work(scan)


def zoo_unet(scan: Path, device: torch.device) -> Callable[[], torch.Tensor]:
    """The model zoo's configuration."""
    network = UNet(
        spatial_dims=3,
        in_channels=1,
        out_channels=3,
        channels=(16, 32, 64, 128, 256, 512),
        strides=(2, 2, 2, 2, 2),
        num_res_units=4,
        norm="batch",
        act="prelu",
        dropout=0.15,
    )
    before = Compose(
        [
            LoadImaged("image"),
            EnsureChannelFirstd("image"),
            Orientationd("image", axcodes="RAS", labels=None),
            Spacingd("image", pixdim=(0.5, 0.5, 0.5)),
            ScaleIntensityd("image", minv=0, maxv=1),
            NormalizeIntensityd("image"),
        ]
    )
    inferer = SlidingWindowInferer(roi_size=(96, 96, 96), sw_batch_size=4, overlap=0.5)
    stock_way = Stock(before, inferer, network.to(device).eval(), device, argmax_first=True)
    return lambda: stock_way(scan)


@dataclass(frozen=True)
class Stock:
    """Preprocessing, inferer and the way back, by MONAI's transforms; what follows the network stays on its device."""

    before: Compose
    inferer: Inferer
    network: nn.Module
    device: torch.device
    argmax_first: bool

    def __call__(self, scan: Path) -> torch.Tensor:
        """Labels on the scan's own grid."""
        back = Invertd("pred", transform=self.before, orig_keys="image", nearest_interp=False)
        discrete = AsDiscreted("pred", argmax=True)
        largest = KeepLargestConnectedComponentd("pred", applied_labels=[1, 2])
        after = Compose([discrete, largest, back] if self.argmax_first else [back, discrete])
        data = self.before({"image": str(scan)})
        with torch.inference_mode():
            data["pred"] = self.inferer(data["image"][None].to(self.device), self.network)[0]
        found: torch.Tensor = after(data)["pred"]
        return found.cpu()


if __name__ == "__main__":
    main()
