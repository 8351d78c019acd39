"""Floor 2: the two domains of procedural streets; generated once into a cache and read from there as Cityscapes."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from prostate_uda.data.domains.base import Found
from prostate_uda.data.domains.cityscapes import Cityscapes
from prostate_uda.data.generated import cached
from prostate_uda.data.streets import DESCRIPTION, LOOKS, VERSION, Look, Size, write_dataset
from prostate_uda.errors import DataError


@dataclass(frozen=True)
class StreetsSettings:
    """What to generate.

    Args:
        size: ``"small"`` (192 × 384, for tests and demonstrations) or ``"full"`` (512 × 1024).
        train: Number of training scenes.
        test: Number of test scenes.
        seed: Names the cohort.
    """

    size: Size = "small"
    train: int = 32
    test: int = 16
    seed: int = 0


@dataclass(frozen=True, kw_only=True)
class StreetsDomain(Cityscapes):
    """A look of street scenes as a domain.

    Args:
        look: Render or photo.
        settings: What to generate where no root is given.
        progress: Told the number of scenes generated after each; silent where the cache holds them.
    """

    look: Look
    settings: StreetsSettings = field(default_factory=StreetsSettings)
    progress: Callable[[int], None] | None = field(default=None, compare=False)

    def configured(self, settings: StreetsSettings, progress: Callable[[int], None] | None = None) -> "StreetsDomain":
        """The same look with other settings."""
        return replace(self, settings=settings, progress=progress)

    def find(self, root: Path | None, labels: Path | None = None) -> Found:
        """Find the scenes of a generated data set, generating it in the cache where ``root`` is None.

        Raises:
            DataError: ``root`` holds no streets of this look, or labels are given separately.
            SettingsError: Settings out of range.
        """
        if labels is not None:
            msg = f"labels in {labels}; generated streets bring their own, leave them out"
            raise DataError(msg)
        folder = self.generate() if root is None else root
        self._check(folder)
        return super().find(folder)

    def generate(self) -> Path:
        """The cached data set of these settings, written first where it is not there yet."""
        s = self.settings
        name = f"{self.name}-{s.size}-seed{s.seed}-{s.train}+{s.test}-v{VERSION}"
        write = partial(
            write_dataset, self.look, train=s.train, test=s.test, seed=s.seed, size=s.size, progress=self.progress
        )
        return cached("streets", name, DESCRIPTION, write)

    def _check(self, folder: Path) -> None:
        """Check that a folder holds this look."""
        path = folder / DESCRIPTION
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            msg = f"{path} cannot be read; give a folder with generated streets, or no root"
            raise DataError(msg) from error
        look = content.get("look") if isinstance(content, dict) else None
        if look != self.look.name:
            msg = f"{folder} holds {look or 'no streets'}, not {self.look.name}; give its own folder, or no root"
            raise DataError(msg)


def _domain(name: str, title: str) -> StreetsDomain:
    """A registry entry."""
    return StreetsDomain(
        name=name,
        title=title,
        licence="Apache-2.0",
        needs_root=False,
        task="scenes",
        resize=(512, 1024),
        look=LOOKS[name],
    )


STREETS_RENDER = _domain("streets-render", "procedural streets as a game draws them, 19 classes (generated)")
STREETS_PHOTO = _domain("streets-photo", "procedural streets as a camera sees them, in another town (generated)")
