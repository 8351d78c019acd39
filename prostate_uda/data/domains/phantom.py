"""Floor 2: the two phantom domains; their cases are generated once into a cache and read from there."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from prostate_uda.data.domains.base import Case, Domain, Found
from prostate_uda.data.generated import cached
from prostate_uda.data.phantom import PROTOCOLS, VERSION, Protocol, Size, write_dataset
from prostate_uda.errors import DataError


@dataclass(frozen=True)
class PhantomSettings:
    """What to generate.

    Args:
        size: ``"small"`` (96 × 96 × 12, for tests and demonstrations) or ``"full"``.
        train: Number of training cases.
        test: Number of test cases.
        seed: Names the cohort.
    """

    size: Size = "small"
    train: int = 16
    test: int = 8
    seed: int = 0


@dataclass(frozen=True, kw_only=True)
class PhantomDomain(Domain):
    """A phantom scanner as a domain.

    Args:
        protocol: The scanner.
        settings: What to generate where no root is given.
        progress: Told the number of cases generated after each; silent where the cache holds them.
    """

    protocol: Protocol
    settings: PhantomSettings = field(default_factory=PhantomSettings)
    progress: Callable[[int], None] | None = field(default=None, compare=False)

    def configured(self, settings: PhantomSettings, progress: Callable[[int], None] | None = None) -> "PhantomDomain":
        """The same scanner with other settings."""
        return replace(self, settings=settings, progress=progress)

    def find(self, root: Path | None, labels: Path | None = None) -> Found:
        """Find the cases of a generated data set, generating it in the cache where ``root`` is None.

        Raises:
            DataError: ``root`` holds no phantom of this scanner, or labels are given separately.
            SettingsError: Settings out of range.
        """
        if labels is not None:
            msg = f"labels in {labels}; a phantom brings its own, leave them out"
            raise DataError(msg)
        folder = self.generate() if root is None else root
        listed = self._listed(folder)
        cases = {part: [_case(folder, entry) for entry in listed[part]] for part in ("training", "test")}
        ordered = tuple(sorted((*cases["training"], *cases["test"]), key=lambda case: case.id))
        return Found(ordered, frozenset(case.id for case in cases["test"]))

    def generate(self) -> Path:
        """The cached data set of these settings, written first where it is not there yet."""
        s = self.settings
        name = f"{self.name}-{s.size}-seed{s.seed}-{s.train}+{s.test}-v{VERSION}"
        write = partial(
            write_dataset, self.protocol, train=s.train, test=s.test, seed=s.seed, size=s.size, progress=self.progress
        )
        return cached("phantom", name, "dataset.json", write)

    def _listed(self, folder: Path) -> dict[str, list[dict[str, str]]]:
        """The data list of a folder, once it is known to be this scanner's."""
        path = folder / "dataset.json"
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            msg = f"{path} cannot be read as a data list; give a folder that the phantom wrote, or no root"
            raise DataError(msg) from error
        scanner = content.get("phantom", {}).get("protocol") if isinstance(content, dict) else None
        if scanner != self.protocol.name:
            msg = f"{folder} holds {scanner or 'no phantom'}, not {self.protocol.name}; give its own folder, or no root"
            raise DataError(msg)
        return {part: list(content[part]) for part in ("training", "test")}


def _case(folder: Path, entry: dict[str, str]) -> Case:
    """One entry of the data list."""
    image = folder / entry["image"]
    return Case(id=image.name.removesuffix(".nii.gz"), image=image, label=folder / entry["label"])


def _domain(name: str, title: str) -> PhantomDomain:
    """A registry entry."""
    return PhantomDomain(name=name, title=title, licence="Apache-2.0", needs_root=False, protocol=PROTOCOLS[name])


PHANTOM_3T = _domain("phantom-3t", "procedural male pelvis, 3 T, phased-array coil (generated, nothing to download)")
PHANTOM_15T = _domain("phantom-1.5t", "procedural male pelvis, 1.5 T, endorectal balloon coil (generated)")
