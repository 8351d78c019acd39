"""The command: exit codes, one line per mistake, and JSON that others read."""

import inspect
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from prostate_uda.cli.adapting import adapt, read_options
from prostate_uda.data.domains import DOMAINS
from prostate_uda.errors import SettingsError
from prostate_uda.methods import METHODS
from prostate_uda.networks import NETWORKS
from prostate_uda.recipes.settings import PHANTOM_GRID, SCAN_GRID, SCENE_ROWS, AdaptSettings
from prostate_uda.transforms import NORMALIZATIONS

pytestmark = pytest.mark.slow  # each test starts Python anew


def run(*arguments: str, cache: Path | None = None) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "COLUMNS": "80", "PYTHONUTF8": "1"}
    if cache is not None:
        environment["PROSTATE_UDA_CACHE"] = str(cache)
    command = [sys.executable, "-m", "prostate_uda", *arguments]
    return subprocess.run(command, capture_output=True, encoding="utf-8", env=environment, check=False)


def complaint(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    (line,) = done.stderr.strip().splitlines()
    return line


def test_info_json_lists_every_registry() -> None:
    done = run("info", "--json")
    content = json.loads(done.stdout)
    assert done.returncode == 0
    assert content["methods"] == list(METHODS)
    assert content["domains"] == list(DOMAINS)
    assert content["networks"] == list(NETWORKS)
    assert content["normalizations"] == [*NORMALIZATIONS, "imagenet"]
    assert {"version", "device"} <= content.keys()


def test_the_rank_of_another_program_silences_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "1")
    assert "self-training" in run("info").stdout
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert "does not exist" in complaint(run("infer", "no.nii.gz", "--bundle", "b", "--out", str(tmp_path / "x")))


def test_an_unknown_domain_is_one_line_and_leaves_nothing(tmp_path: Path) -> None:
    out = tmp_path / "run"
    line = complaint(run("adapt", "--source", "nowhere", "--out", str(out)))
    assert "unknown domain 'nowhere'" in line
    assert "phantom-3t" in line
    assert not out.exists()


def test_the_command_starts_without_torch() -> None:
    """So help is quick."""
    code = "import sys, prostate_uda.cli; sys.exit('torch' in sys.modules or 'monai' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_floor_of_a_learned_ntm_is_a_flag(tmp_path: Path) -> None:
    line = complaint(run("adapt", "--ntm-floor", "1", "--out", str(tmp_path / "run")))
    assert "ntm_floor 1.0" in line
    assert "0 never stops" in line


def test_the_flags_of_images_tell_what_they_mean_for_pictures() -> None:
    told = {name: one.annotation.__metadata__[0].help for name, one in inspect.signature(adapt).parameters.items()}
    assert f"rows of a crop for pictures ({SCENE_ROWS['small']} phantoms, {SCENE_ROWS['full']})" in told["size"]
    assert f"{PHANTOM_GRID.size} phantoms, {SCAN_GRID.size} scans" in told["size"]
    assert told["batch_size"] == "Images per domain and step."
    assert inspect.signature(adapt).parameters["ntm_floor"].default == AdaptSettings().ntm_floor


def test_a_path_with_brackets_is_told_whole(tmp_path: Path) -> None:
    line = complaint(run("infer", "my[/]scan.nii.gz", "--bundle", "runs/x", "--out", str(tmp_path)))
    assert "my[/]scan.nii.gz does not exist" in line


def test_a_domain_without_its_folder_says_which_flag(tmp_path: Path) -> None:
    line = complaint(run("adapt", "--source", "decathlon", "--out", str(tmp_path / "run")))
    assert "--source-root" in line
    assert not (tmp_path / "run").exists()


def test_a_truncated_nifti_is_one_line_and_leaves_nothing(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    made = run("phantom", "make", "phantom-3t", "--out", str(tmp_path / "data"), "--train", "2", "--test", "1")
    assert made.returncode == 0, made.stderr
    victim = sorted((tmp_path / "data" / "imagesTr").glob("*.nii.gz"))[0]
    victim.write_bytes(victim.read_bytes()[:3000])
    flags = ("--source-root", str(tmp_path / "data"), "--phantom-train", "2", "--phantom-test", "1")
    line = complaint(run("adapt", *flags, "--out", str(tmp_path / "run"), cache=cache))
    assert str(victim) in line
    assert not (tmp_path / "run").exists()


def test_an_option_the_method_does_not_have() -> None:
    assert "no option 'epsilom'" in complaint(run("adapt", "--set", "epsilom=1", "--out", "/nonexistent/x"))


def test_a_terminal_that_knows_only_ascii_is_no_reason_to_fail(tmp_path: Path) -> None:
    """LANG=C as in a cron job or a container: a message with ≥ is printed, and a path as the bytes it is."""
    plain = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    command = [sys.executable, "-m", "prostate_uda", "phantom", "make", "phantom-3t", "--out", str(tmp_path / "größe")]
    done = subprocess.run(
        [*command, "--train", "1", "--test", "1"], capture_output=True, env={**os.environ, **plain}, check=False
    )
    assert done.returncode == 0, done.stderr.decode("ascii", "replace")
    assert done.stdout.endswith("größe\n".encode())
    assert (tmp_path / "größe" / "dataset.json").is_file()
    refused = subprocess.run(
        [*command[:3], "adapt", "--set", "ntm_rate=-1", "--out", str(tmp_path / "run")],
        capture_output=True,
        env={**os.environ, **plain},
        check=False,
    )
    assert refused.returncode == 2
    assert "positive rates" in refused.stderr.decode()


def test_infer_without_a_bundle(tmp_path: Path) -> None:
    scan = tmp_path / "scan.nii.gz"
    scan.touch()
    line = complaint(run("infer", str(scan), "--bundle", str(tmp_path), "--out", str(tmp_path / "o")))
    assert "no bundle" in line


def test_options_are_read_as_numbers_words_and_tuples() -> None:
    assert read_options(["a=1", "b=learned", "c=[0.5,1]"]) == {"a": 1, "b": "learned", "c": (0.5, 1)}
    with pytest.raises(SettingsError, match="name=value"):
        read_options(["a"])
