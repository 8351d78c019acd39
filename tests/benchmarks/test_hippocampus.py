"""Real Decathlon cases through the Decathlon loader, trained on three classes."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks" / "hippocampus.py"


@pytest.mark.slow
def test_three_classes_are_learned(shared_data: Path, tmp_path: Path) -> None:
    flags = ["--root", str(shared_data / "msd-hippocampus"), "--steps", "200", "--out", str(tmp_path / "result.json")]
    subprocess.run([sys.executable, str(SCRIPT), *flags], check=True, stdout=subprocess.DEVNULL)
    content = json.loads((tmp_path / "result.json").read_text())
    assert content["cases"] == {"train": 16, "test": 8}
    assert all(content["dice"][name]["mean"] > 40 for name in ("anterior", "posterior"))
