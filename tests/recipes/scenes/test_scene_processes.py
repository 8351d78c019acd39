"""A source that one of two processes cannot use: one line, both end, and nothing is written."""

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from prostate_uda.data.domains import StreetsSettings
from prostate_uda.data.domains.streets import STREETS_RENDER
from prostate_uda.recipes.processes import shares
from tests.recipes.scenes.conftest import STREETS
from tests.recipes.test_adapt_processes import ROOT, TORCHRUN, environment


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:400])


def void(path: Path) -> None:
    Image.new("L", (384, 192), 0).save(path)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("file", "spoil", "said"),
    [
        ("image", cut, "cannot be read as a picture"),
        ("label", void, "names a class; is it this data set?"),
    ],
)
def test_what_one_process_finds_ends_both(
    tmp_path: Path, cache: Path, file: str, spoil: Callable[[Path], None], said: str
) -> None:
    numbers = StreetsSettings(train=STREETS["phantom_train"], test=STREETS["phantom_test"])
    root = tmp_path / "streets"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PROSTATE_UDA_CACHE", str(cache))
        shutil.copytree(STREETS_RENDER.configured(numbers).generate(), root)
    of_the_second = shares(STREETS_RENDER.cases(root, role="source", seed=0).train, 2)[1]
    assert of_the_second
    for case in of_the_second:
        spoil(getattr(case, file))
    flags = [f"--{name.replace('_', '-')}={value}" for name, value in {**STREETS, "source_root": root}.items()]
    done = subprocess.run(
        [*TORCHRUN, "prostate_uda", "adapt", f"--out={tmp_path / 'run'}", *flags],
        cwd=ROOT,
        env={**environment(), "PROSTATE_UDA_CACHE": str(cache)},
        capture_output=True,
        encoding="utf-8",
        timeout=240,
        check=False,
    )
    assert done.returncode
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("error:")]
    assert said in line
    assert not (tmp_path / "run").exists()
