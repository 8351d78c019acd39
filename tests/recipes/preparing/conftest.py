"""Both public data sets in miniature, on disk and on a server, with everything that is known to be odd about them."""

import hashlib
import io
import json
import tarfile
import zipfile
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk

from prostate_uda.data.phantom import PROTOCOLS, make_case, write_dataset
from prostate_uda.data.preparing.download import Checksum
from prostate_uda.data.preparing.tcia import LABEL_ARCHIVES, MANIFESTS
from prostate_uda.data.volumes import read_image, read_label
from prostate_uda.recipes.prepare import prepare_decathlon, prepare_nci_isbi13

PLAIN = {0: 0, 1: 1, 2: 2}
DX = "ProstateDx-{}"
GOOD = ("01-0001", "01-0006", "01-0035", "01-0055", "01-0082", "01-0090", "02-0003", "03-0002")


class Told:
    """Progress that remembers."""

    def __init__(self) -> None:
        self.notes, self.tasks = [], []

    @contextmanager
    def task(self, title, total, done=0, *, unit=""):
        self.tasks.append([title, total, done])
        yield self

    def advance(self, amount=1, values=None):
        self.tasks[-1][2] += amount

    def note(self, text):
        self.notes.append(text)


@pytest.fixture(scope="module")
def phantom(tmp_path_factory) -> Path:
    return write_dataset(
        PROTOCOLS["phantom-3t"], tmp_path_factory.mktemp("p") / "3t", train=3, test=1, seed=0, size="small"
    )


@pytest.fixture(scope="module")
def task(tmp_path_factory, phantom) -> Path:
    """Task05 as its archive unpacks, of phantoms: 4D, gappy ids, plain test entries, AppleDouble files."""
    root = tmp_path_factory.mktemp("msd") / "Task05_Prostate"
    names = {"phantom-3t_00000": "prostate_16", "phantom-3t_00001": "prostate_04", "phantom-3t_00002": "prostate_35"}
    for kind in ("imagesTr", "labelsTr", "imagesTs"):
        (root / kind).mkdir(parents=True)
    for old, new in {**names, "phantom-3t_10000": "prostate_08"}.items():
        part = "Ts" if new == "prostate_08" else "Tr"
        image = nib.load(phantom / f"images{part}" / f"{old}.nii.gz")
        voxels = np.asarray(image.dataobj)
        nib.save(
            nib.Nifti1Image(np.stack([voxels, voxels[::-1]], axis=-1), image.affine),
            root / f"images{part}" / f"{new}.nii.gz",
        )
        (root / f"images{part}" / f"._{new}.nii.gz").write_bytes(b"junk")
        if part == "Tr":
            (root / "labelsTr" / f"{new}.nii.gz").write_bytes((phantom / "labelsTr" / f"{old}.nii.gz").read_bytes())
    listed = {
        "name": "PROSTATE",
        "licence": "CC-BY-SA 4.0",
        "relase": "1.0 04/05/2018",
        "labels": {"0": "background", "1": "PZ", "2": "TZ"},
        "training": [
            {"image": f"./imagesTr/{n}.nii.gz", "label": f"./labelsTr/{n}.nii.gz"} for n in sorted(names.values())
        ],
        "test": ["./imagesTs/prostate_08.nii.gz"],
    }
    (root / "dataset.json").write_text(json.dumps(listed))
    return root


def packed(root: Path) -> bytes:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as opened:
        opened.add(root, root.name)
    return content.getvalue()


@pytest.fixture
def mirror(server, task):
    """The archive on a server; ``mirror(out)`` prepares from there."""
    server.files["/Task05_Prostate.tar"] = packed(task)
    checksum = Checksum("md5", hashlib.md5(server.files["/Task05_Prostate.tar"]).hexdigest())

    def run(out, **more):
        return prepare_decathlon(out, mirror=server.url, **{"checksum": checksum, **more})

    return run


def uid(number: int) -> str:
    return f"1.3.6.1.4.1.14519.{number}"


def write_nrrd(path: Path, array: np.ndarray, affine: np.ndarray) -> None:
    lps = np.diag((-1.0, -1.0, 1.0, 1.0)) @ affine
    spacing = np.linalg.norm(lps[:3, :3], axis=0)
    image = sitk.GetImageFromArray(np.ascontiguousarray(array.transpose(2, 1, 0)))
    image.SetSpacing(spacing.tolist())
    image.SetDirection((lps[:3, :3] / spacing).ravel().tolist())
    image.SetOrigin(lps[:3, 3].tolist())
    path.parent.mkdir(parents=True, exist_ok=True)
    sitk.WriteImage(image, str(path))


class Man:
    """One phantom scan that every patient of the miniature has."""

    def __init__(self) -> None:
        case = make_case(PROTOCOLS["phantom-1.5t"], seed=0, index=0, size="small")
        self.image = np.clip(case.image, 0, 4000).astype(np.uint16)
        self.label, self.affine = case.label, case.affine

    def fewer_slices(self):
        slices = np.flatnonzero(self.label.any(axis=(0, 1)))
        move = np.eye(4)
        move[2, 3] = slices[0]
        return self.label[:, :, slices[0] : slices[-1] + 1], self.affine @ move

    def finer(self):
        scale = np.diag((0.5, 0.5, 1.0, 1.0))
        scale[:2, 3] = -0.25
        return self.label.repeat(2, axis=0).repeat(2, axis=1), self.affine @ scale

    def swapped(self):
        return self.label.transpose(1, 0, 2), self.affine @ np.eye(4)[:, [1, 0, 2, 3]]


@pytest.fixture(scope="module")
def man() -> Man:
    return Man()


@pytest.fixture(scope="module")
def made(tmp_path_factory, make_series, man) -> Path:
    """``dicom/`` as NBIA's retriever lays it and ``labels/`` as the challenge's zips unpack; everything good."""
    root = tmp_path_factory.mktemp("challenge")
    patients = [*(DX.format(case) for case in GOOD), "Prostate3T-01-0001"]
    for number, patient in enumerate(patients):
        name = "ProstateDx-01-0036" if patient.endswith("0035") else patient
        folder = root / "dicom" / patient / "09-21-2008-MRI" / f"{number}-T2WTSEAX"
        make_series(
            folder,
            man.image + 10 * number,
            uid=uid(number),
            study=f"1.2.3.{number}",
            description="T2W_TSE_AX",
            affine=man.affine,
            patient=patient,
            patient_name=name,
        )
    plain = (man.label, man.affine)
    odd = {"01-0055": man.fewer_slices(), "01-0082": man.finer(), "01-0090": man.swapped()}
    for patient in patients:
        case = patient.removeprefix("ProstateDx-")
        part = {"01": "Training", "02": "Leaderboard", "03": "Test"}[patient[-7:-5]]
        end = "_correctedLabels" if case == "01-0006" else "" if part == "Training" else "_truth"
        write_nrrd(root / "labels" / part / f"{patient}{end}.nrrd", *odd.get(case, plain))
    return root


@pytest.fixture
def challenge(made, tmp_path) -> Path:
    """A copy that a test may spoil: links, so that it costs nothing."""
    for path in made.rglob("*"):
        if path.is_file():
            to = tmp_path / path.relative_to(made)
            to.parent.mkdir(parents=True, exist_ok=True)
            to.hardlink_to(path)
    return tmp_path


@pytest.fixture
def tcia(server, made):
    """The miniature on a server, as TCIA and NBIA have it; ``tcia(out)`` prepares from there."""
    checksums, series = {}, {}
    for name in LABEL_ARCHIVES:
        part = name.rpartition("-")[2].removesuffix(".zip")
        server.files[f"/{name}"] = zipped(made / "labels" / part, f"{name.removesuffix('.zip')}/")
        checksums[name] = Checksum("sha256", sha256(server.files[f"/{name}"]).hexdigest())
    for folder in sorted(made.glob("dicom/*/*/*")):
        one = uid(int(folder.name.partition("-")[0]))
        series[one] = (folder.parts[-3], len(list(folder.iterdir())))
        server.files[f"/getImage?SeriesInstanceUID={one}"] = zipped(folder)
    parts = {"Training": "-01-", "LeaderBoard": "-02-", "Testing": "-03-"}
    for name in MANIFESTS:
        field = parts[name.rpartition("-")[2].removesuffix(".tcia")]
        named = [one for one, (patient, _) in series.items() if field in patient]
        head = "downloadServerUrl=https://x\nincludeAnnotation=true\nmanifestVersion=3.0\nListOfSeriesToDownload=\n"
        server.files[f"/{name}"] = (head + "\n".join(named) + "\n").encode()
    for collection, prefix in (("PROSTATE-DIAGNOSIS", "ProstateDx"), ("Prostate-3T", "Prostate3T")):
        listed = [
            {"SeriesInstanceUID": one, "PatientID": patient, "ImageCount": count, "Collection": collection}
            for one, (patient, count) in series.items()
            if patient.startswith(prefix)
        ]
        server.files[f"/getSeries?Collection={collection}&format=json"] = json.dumps(listed).encode()

    def run(out, **more):
        return prepare_nci_isbi13(out, mirror=server.url, nbia=server.url, **{"checksums": checksums, **more})

    return run


def zipped(folder: Path, prefix: str = "") -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as opened:
        opened.writestr("LICENSE", "CC BY 3.0")
        for path in sorted(folder.iterdir()):
            opened.write(path, prefix + path.name)
            opened.writestr(f"__MACOSX/{prefix}._{path.name}", b"junk")
    return content.getvalue()


def check_truth(out: Path, man: Man, names) -> None:
    """Every label lies on its image as the phantom's does."""
    for name in names:
        part = "Tr" if "-01-" in name else "Ts"
        label = read_label(out / f"labels{part}" / f"{name}.nii.gz", PLAIN)
        assert np.array_equal(label.array, man.label), name
        image = read_image(out / f"images{part}" / f"{name}.nii.gz")
        assert image.grid.same_as(label.grid, tolerance_mm=1e-3)
        assert np.allclose(image.grid.affine, man.affine, atol=1e-3)
