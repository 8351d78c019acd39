"""Disks of one's own, small or read-only, mounted in a namespace that this process alone sees."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.hostile.conftest import flags
from tests.same_runs import differences, orphans

pytestmark = pytest.mark.slow  # each test starts Python anew
ALONE = ("unshare", "--map-root-user", "--mount", "sh", "-c")
ADAPT = (sys.executable, "-m", "prostate_uda", "adapt")


def mounted(script: str, *command: object) -> subprocess.CompletedProcess[str]:
    """``script`` with ``command`` as its ``"$@"``, where ``/mnt`` is its own."""
    if shutil.which("unshare") is None or subprocess.run([*ALONE, "mount -t tmpfs none /mnt"], check=False).returncode:
        pytest.skip("no mount of one's own is allowed here")
    return subprocess.run(
        [*ALONE, script, "sh", *map(str, command)], capture_output=True, encoding="utf-8", check=False
    )


def test_a_disk_that_fills_stops_a_run_which_goes_on_when_there_is_room(pair_of_all: Path, tmp_path: Path) -> None:
    kept, whole = tmp_path / "kept", tmp_path / "whole"
    script = f"""
        mount -t tmpfs -o size=200k none /mnt
        "$@" --out=/mnt/run; echo "exit $?"
        mount -o remount,size=60m /mnt
        "$@" --out=/mnt/run --resume; echo "exit $?"
        cp -r /mnt/run {kept}
    """
    done = mounted(script, *ADAPT, *flags(pair_of_all))
    codes = [line for line in done.stdout.splitlines() if line.startswith("exit ")]
    assert codes == ["exit 2", "exit 0"], done.stderr
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert "cannot be written (No space left on device" in line
    assert "Traceback" not in done.stderr
    subprocess.run([*ADAPT, *flags(pair_of_all), f"--out={whole}"], capture_output=True, check=True)
    assert orphans(kept) == []
    assert [name for name in differences(kept, whole) if name.startswith(("checkpoints", "predictions", "cases"))] == []


def test_a_read_only_mount_is_one_line(pair_of_all: Path) -> None:
    script = 'mount -t tmpfs -o ro none /mnt; "$@" --out=/mnt/run; code=$?; ls -A /mnt; exit $code'
    done = mounted(script, *ADAPT, *flags(pair_of_all))
    assert done.returncode == 2, done.stderr
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert "/mnt/run cannot be written (Read-only file system)" in line
    assert "Traceback" not in done.stderr
