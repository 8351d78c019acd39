"""Scripts shown in the documentation run as they are printed."""

import re
import subprocess
import sys
from pathlib import Path

EXAMPLES = Path(__file__).resolve().parents[2] / "docs" / "examples"


def test_metacorrection_in_monai(tmp_path: Path) -> None:
    script = EXAMPLES / "metacorrection_in_monai.py"
    done = subprocess.run(
        [sys.executable, str(script), str(tmp_path)],
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        check=True,
    )
    dice = float(re.search(r"Dice ([0-9.]+), NTMs \(2, 3, 3\)", done.stdout)[1])
    assert dice > 0.7
    assert list(tmp_path.glob("*.pt"))
    assert "Loss" in done.stderr + done.stdout
