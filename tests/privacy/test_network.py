"""No command but ``prepare`` opens a connection beyond this machine, in a process that notes every attempt."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.hostile.faults import save, scan, zones

GUARD = '''
"""Python runs this before anything else: what asks for the network is noted and refused."""
import os
import sys

HERE = ("127.", "::1", "localhost", "0.0.0.0")
ASKS = {
    "socket.connect", "socket.sendto", "socket.sendmsg", "socket.getaddrinfo", "socket.gethostbyname",
    "socket.gethostbyaddr", "urllib.Request", "http.client.connect",
}


def guard(event, arguments):
    if event not in ASKS:
        return
    address = arguments[0] if isinstance(arguments[0], str) else arguments[1]
    if isinstance(address, (str, bytes)) and event in ("socket.connect", "socket.sendto", "socket.sendmsg"):
        return  # a socket of this machine's own, by its path
    host = str(address[0] if isinstance(address, tuple) else address)
    if host.startswith(HERE):
        return
    with open(os.environ["NOTED"], "a", encoding="utf-8") as file:
        file.write(f"{event} {host}\\n")
    raise PermissionError(f"{event} {host}")


sys.addaudithook(guard)
'''

EVERY_MODULE = """
import importlib, pkgutil, prostate_uda
for module in pkgutil.walk_packages(prostate_uda.__path__, "prostate_uda."):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)
"""


@pytest.fixture
def guarded(tmp_path: Path, cache: Path):
    """Runs Python with arguments where the network is watched; the exit code and the attempts."""
    (tmp_path / "guard").mkdir()
    (tmp_path / "guard" / "sitecustomize.py").write_text(GUARD, encoding="utf-8")
    noted = tmp_path / "noted.txt"
    kept = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    environment = {
        **kept,
        "PYTHONPATH": str(tmp_path / "guard"),
        "NOTED": str(noted),
        "PROSTATE_UDA_CACHE": str(cache),
        "OMP_NUM_THREADS": "1",
    }

    def run(*arguments: object) -> tuple[int, str]:
        noted.write_text("", encoding="utf-8")
        command = [sys.executable, *map(str, arguments)]
        done = subprocess.run(command, env=environment, capture_output=True, timeout=300)
        return done.returncode, noted.read_text(encoding="utf-8") + done.stderr.decode(errors="replace")

    return run


def test_the_guard_sees_an_attempt(guarded) -> None:
    code, told = guarded("-c", "import socket; socket.create_connection(('192.0.2.1', 9), 1)")
    assert code != 0
    assert told.startswith(("socket.getaddrinfo 192.0.2.1", "socket.connect 192.0.2.1"))
    code, told = guarded("-c", "import urllib.request as r; r.urlopen('http://example.org')")
    assert code != 0
    assert told


@pytest.mark.slow
def test_only_prepare_asks(guarded, tmp_path: Path) -> None:
    address = "http://192.0.2.1/nothing"
    code, told = guarded("-m", "prostate_uda", "prepare", "decathlon", "--out", tmp_path / "d", "--mirror", address)
    assert code != 0
    assert "192.0.2.1" in told.splitlines()[0]


def test_importing_everything_asks_for_nothing(guarded) -> None:
    assert guarded("-W", "ignore", "-c", EVERY_MODULE) == (0, "")


@pytest.mark.slow
def test_adapt_infer_evaluate_and_info_ask_for_nothing(guarded, tmp_path: Path) -> None:
    tiny = {"phantom-train": 2, "phantom-test": 1, "source-steps": 2, "predictor-steps": 1, "steps": 2}
    flags = [f"--{name}={value}" for name, value in {**tiny, "batch-size": 2, "device": "cpu"}.items()]
    run, out = tmp_path / "run", tmp_path / "out"
    image, truth = save(tmp_path / "a.nii.gz", scan()), save(tmp_path / "truth" / "a.nii.gz", zones()).parent
    for arguments in (
        ("info", "--json"),
        ("adapt", "--source=phantom-3t", "--target=phantom-1.5t", "--out", run, *flags),
        ("infer", image, "--bundle", run, "--out", out, "--device=cpu"),
        ("evaluate", out, truth),
        ("cite",),
    ):
        assert guarded("-m", "prostate_uda", *arguments) == (0, ""), arguments[0]
    assert json.loads((run / "run.json").read_text(encoding="utf-8"))["status"] == "done"
    assert (out / "a_zones.nii.gz").is_file()
