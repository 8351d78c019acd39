"""Too little memory: what is asked for is told, and what to do; the limit is the kernel's, on a process of its own."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from prostate_uda.cli import app, limits
from tests.hostile.conftest import flags
from tests.hostile.faults import save, scan

LIMITED = """
import resource, sys
from prostate_uda import recipes
from prostate_uda.cli import main
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + int(sys.argv[1]), resource.RLIM_INFINITY))
sys.argv[1:] = sys.argv[2:]
main()
"""
pytestmark = pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="asks Linux how much a process has")


def with_memory(megabytes: int, *arguments: object, cache: Path) -> subprocess.CompletedProcess[str]:
    """The command in a process that gets no more than so much beyond what its libraries take."""
    environment = {**os.environ, "PROSTATE_UDA_CACHE": str(cache), "OMP_NUM_THREADS": "1", "PYTHONUTF8": "1"}
    command = [sys.executable, "-c", LIMITED, str(megabytes << 20), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, encoding="utf-8", env=environment, check=False)


@pytest.mark.slow
def test_a_scan_that_needs_more_than_there_is(finished: Path, tmp_path: Path, cache: Path) -> None:
    wide = save(tmp_path / "wide.nii", np.tile(scan(), (20, 20, 6)))  # 23 million voxels
    good = save(tmp_path / "good.nii.gz", scan())
    typed = ("infer", wide, good, f"--bundle={finished}", f"--out={tmp_path / 'out'}", "--device=cpu", "--labels-only")
    done = with_memory(80, *typed, cache=cache)
    assert done.returncode == 3, done.stderr
    assert "Traceback" not in done.stderr
    assert "needs more memory than there is" in (tmp_path / "out" / "failures.csv").read_text(encoding="utf-8")
    assert (tmp_path / "out" / "good_zones.nii.gz").is_file()


@pytest.mark.slow
def test_a_batch_that_needs_more_than_there_is(pair_of_all: Path, tmp_path: Path, cache: Path) -> None:
    many = flags(pair_of_all, batch_size=4000, size=192)
    done = with_memory(1000, "adapt", *many, f"--out={tmp_path / 'run'}", cache=cache)
    assert done.returncode == 2, done.stderr
    (line,) = done.stderr.strip().splitlines()
    assert line.startswith("error: there is not enough memory; end other programs, or give a smaller --batch-size")


def test_other_runtime_errors_are_bugs() -> None:
    assert limits.told(RuntimeError("shapes differ")) is None
    assert limits.told(OSError(9, "Bad file descriptor")) is None
    assert "not enough memory" in str(limits.told(RuntimeError("CUDA out of memory. Tried to allocate 2 GiB")))


KEPT = " (what is done is kept: go on with --resume)"


@pytest.mark.parametrize(
    ("typed", "advice"),
    [
        ("adapt --out x", f", or give a smaller --batch-size or --size{KEPT}"),
        ("compare --out x", ", or give a smaller --batch-size or --size"),
        ("infer a.nii.gz", f", or give a smaller --batch-size{KEPT}"),
        ("review run", ", or give a smaller --batch-size"),
        ("evaluate a b", ""),
        ("plot embedding run", ""),
        ("plot", ""),
        ("", ""),
    ],
)
def test_the_advice_names_what_the_command_has(typed: str, advice: str) -> None:
    told = limits.told(MemoryError(), limits.flags_of(app, typed.split()))
    assert told == f"there is not enough memory; end other programs{advice}"
