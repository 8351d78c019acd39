"""Which precision a GPU's products have while a run lasts, and after it."""

import pytest
import torch

from prostate_uda.engines.execution import Execution


@pytest.mark.parametrize(("precision", "allowed"), [("float32", False), ("tf32", True), ("bf16", True)])
@pytest.mark.parametrize("before", [False, True])
def test_tf32_is_what_was_asked_for_and_then_what_it_was(precision: str, allowed: bool, before: bool) -> None:
    backends = torch.backends.cudnn, torch.backends.cuda.matmul
    usual = [backend.allow_tf32 for backend in backends]
    try:
        for backend in backends:
            backend.allow_tf32 = before
        with Execution(precision=precision).products():  # type: ignore[arg-type]
            assert [backend.allow_tf32 for backend in backends] == [allowed, allowed]
        assert [backend.allow_tf32 for backend in backends] == [before, before]
    finally:
        for backend, value in zip(backends, usual, strict=True):
            backend.allow_tf32 = value
