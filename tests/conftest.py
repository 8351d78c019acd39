"""What every test may ask for."""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from hashlib import md5
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import hypothesis
import numpy as np
import pytest
import SimpleITK as sitk

hypothesis.settings.register_profile("ci", derandomize=True)  # a new example is for a desk, not for a submission
if os.environ.get("CI"):
    hypothesis.settings.load_profile("ci")
os.environ.setdefault("OMP_NUM_THREADS", "1")  # the same bits on any number of cores; pytest-xdist has the others

MakeSeries = Callable[..., Path]


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The real scans beside the repository; the test is skipped where they are not."""
    folder = Path(__file__).resolve().parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"no real scans at {folder}")
    return folder


@dataclass
class Server:
    """A server on the loopback: files by path with query, and what goes wrong with them, once per entry."""

    url: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    ranges: bool = True
    lengths: bool = True
    break_after: dict[str, list[int]] = field(default_factory=dict)
    answers: dict[str, list[int]] = field(default_factory=dict)
    asked: list[tuple[str, str | None]] = field(default_factory=list)
    sent: list[int] = field(default_factory=list)


class _Handler(BaseHTTPRequestHandler):
    state: Server

    def do_GET(self) -> None:
        self.state.asked.append((self.path, self.headers.get("Range")))
        code = self.state.answers.get(self.path) or [200 if self.path in self.state.files else 404]
        if code[0] != 200:
            self.send_error(code.pop(0))
            return
        content = self.state.files[self.path]
        etag = f'"{md5(content).hexdigest()}"'
        wanted = self.headers.get("Range") if self.state.ranges else None
        start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted else 0
        if start and self.headers.get("If-Range", etag) != etag:
            start = 0
        if start >= len(content) > 0:
            self.send_error(416)
            return
        self._send(content, start, etag)

    def _send(self, content: bytes, start: int, etag: str) -> None:
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        if self.state.lengths:
            self.send_header("Content-Length", str(len(content) - start))
        self.send_header("ETag", etag)
        self.end_headers()
        breaks = self.state.break_after.get(self.path)
        body = content[start:][: breaks.pop(0)] if breaks else content[start:]
        self.state.sent.append(len(body))
        self.wfile.write(body)
        self.close_connection = True

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A server on 127.0.0.1, reached without any proxy."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    state = Server()
    running = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"state": state}))
    state.url = f"http://127.0.0.1:{running.server_port}"
    thread = Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield state
    running.shutdown()
    running.server_close()
    thread.join()


def oblique() -> np.ndarray:
    """An affine turned about two axes: 0.7 × 0.7 × 3 mm, axes LPS."""
    a, b = np.deg2rad(12), np.deg2rad(-8)
    about_x = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    about_z = np.array([[np.cos(b), -np.sin(b), 0], [np.sin(b), np.cos(b), 0], [0, 0, 1]])
    affine = np.eye(4)
    affine[:3, :3] = about_x @ about_z @ np.diag((-0.7, -0.7, 3.0))
    affine[:3, 3] = (31.5, 40.25, -12.0)
    return affine


def _series(
    folder: Path,
    array: np.ndarray,
    *,
    uid: str = "1.2.826.0.1.3680043.2.1125.1",
    study: str = "1.2.826.0.1.3680043.2.1125.2",
    description: str = "t2_tse_tra",
    affine: np.ndarray | None = None,
    leave_out: tuple[int, ...] = (),
    patient: str = "anonymous",
    patient_name: str = "",
) -> Path:
    """Write ``(X, Y, Z)`` uint16 as a DICOM series, one file per slice, file order unlike slice order."""
    folder.mkdir(parents=True, exist_ok=True)
    lps = np.diag((-1.0, -1.0, 1.0, 1.0)) @ (oblique() if affine is None else affine)
    spacing = np.linalg.norm(lps[:3, :3], axis=0)
    direction = lps[:3, :3] / spacing
    writer = sitk.ImageFileWriter()
    writer.KeepOriginalImageUIDOn()
    for k in set(range(array.shape[2])) - set(leave_out):
        image = sitk.GetImageFromArray(np.ascontiguousarray(array[:, :, k].T.astype(np.uint16)))
        image.SetSpacing([float(spacing[0]), float(spacing[1])])
        tags = {
            "0008|0060": "MR",
            "0008|0018": f"{uid}.{k + 1}",
            "0020|000e": uid,
            "0020|000d": study,
            "0008|103e": description,
            "0010|0020": patient,
            "0010|0010": patient_name,
            "0020|0013": str(k + 1),
            "0018|0050": f"{spacing[2]:.6f}",
            "0020|0032": "\\".join(f"{v:.10f}" for v in lps[:3, 3] + k * lps[:3, 2]),
            "0020|0037": "\\".join(f"{v:.10f}" for v in (*direction[:, 0], *direction[:, 1])),
        }
        for tag, value in tags.items():
            image.SetMetaData(tag, value)
        writer.SetFileName(str(folder / f"{array.shape[2] - k:03d}.dcm"))
        writer.Execute(image)
    return folder


@pytest.fixture(scope="session")
def make_series() -> MakeSeries:
    return _series


@pytest.fixture(scope="session")
def oblique_affine() -> np.ndarray:
    return oblique()


@pytest.fixture(scope="session")
def voxels() -> np.ndarray:
    """``(10, 8, 5)`` uint16, every voxel another value."""
    return np.arange(400, dtype=np.uint16).reshape(10, 8, 5)
