"""The same seed gives the same bits in another process, whatever the order of its sets and its other random numbers."""

import hashlib
import json
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from prostate_uda.engines.guards import not_finite
from tests.contracts.test_methods import VARIANTS, advance, begin, everything

ROOT = Path(__file__).parents[2]
STEPS = 2


def leaves(content: Any) -> Iterator[bytes]:
    """All that a state holds, in its own order."""
    if isinstance(content, dict):
        for key, value in content.items():
            yield repr(key).encode()
            yield from leaves(value)
    elif isinstance(content, list):
        for value in content:
            yield from leaves(value)
    else:
        yield content.contiguous().numpy().tobytes() if isinstance(content, Tensor) else repr(content).encode()


def digest(variant: str) -> str:
    """Of the state and the losses after a few steps."""
    method, state = begin(variant, seed=3)
    losses = advance(method, state, STEPS)
    assert not not_finite(state.state_dict())
    found = hashlib.sha256()
    for leaf in leaves([everything(state), losses]):
        found.update(leaf)
    return found.hexdigest()


def digests() -> dict[str, str]:
    return {variant: digest(variant) for variant in VARIANTS}


def test_every_method_steps_to_the_same_bits_in_another_process() -> None:
    environment = {**os.environ, "PYTHONHASHSEED": "4242", "OMP_NUM_THREADS": str(torch.get_num_threads())}
    command = [sys.executable, "-m", "tests.contracts.test_determinism"]
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, encoding="utf-8") as other:
        mine = digests()
        theirs, _ = other.communicate(timeout=500)
    assert other.returncode == 0
    assert json.loads(theirs) == mine
    distinct = len(set(mine.values()))
    assert distinct > len(VARIANTS) // 2  # a digest of nothing would be the same for all


if __name__ == "__main__":
    for spoil in (random.seed, np.random.seed, torch.manual_seed):
        spoil(99)
    sys.stdout.write(json.dumps(digests()))
