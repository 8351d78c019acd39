"""The spin-echo equation and the tissue table."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from prostate_uda.data.phantom.protocols import PROTOCOLS
from prostate_uda.data.phantom.signal import draw_texture, spin_echo, tissue_signals
from prostate_uda.data.phantom.tissues import TISSUES, Tissue


def test_spin_echo_by_hand():
    # PD 0.8, TR = T1 ln 2 -> recovery 1/2; TE = T2 ln 4 -> decay 1/4
    signal = spin_echo(0.8, 1000.0, 50.0, tr_ms=1000 * np.log(2), te_ms=50 * np.log(4))
    assert signal == pytest.approx(0.8 * 0.5 * 0.25, rel=1e-12)


@given(st.floats(0.01, 1.0), st.floats(100, 4000), st.floats(5, 2000), st.floats(500, 9000), st.floats(5, 300))
def test_spin_echo_laws(density, t1, t2, tr, te):
    signal = spin_echo(density, t1, t2, tr_ms=tr, te_ms=te)
    assert 0 <= signal <= density
    assert spin_echo(density, t1, t2, tr_ms=tr * 1.1, te_ms=te) >= signal  # more recovery
    assert spin_echo(density, t1, t2, tr_ms=tr, te_ms=te * 1.1) <= signal  # more decay
    assert spin_echo(2 * density, t1, t2, tr_ms=tr, te_ms=te) == pytest.approx(2 * signal)


def test_three_tesla_values_are_the_published_ones():
    """De Bazelaire 2004, table at 3 T: T1 of prostate 1597, muscle 898, marrow 586, subcutaneous fat 382 ms."""
    for tissue, published in ((Tissue.PERIPHERAL, 1597), (Tissue.MUSCLE, 898), (Tissue.MARROW, 586), (Tissue.FAT, 382)):
        assert TISSUES[tissue].times(3.0)[0] == pytest.approx(published, rel=0.005)
    assert TISSUES[Tissue.MUSCLE].times(1.5) == (742.0, 33.0)


@pytest.mark.parametrize("name", sorted(PROTOCOLS))
def test_contrast_is_that_of_a_t2_weighted_scan(name):
    s = tissue_signals(PROTOCOLS[name])
    assert s[Tissue.URINE] > s[Tissue.PERIPHERAL] > s[Tissue.TRANSITION] > s[Tissue.STROMA_ANTERIOR] > s[Tissue.MUSCLE]
    assert s[Tissue.PERIPHERAL] > 1.3 * s[Tissue.LESION]
    assert s[Tissue.FAT] > s[Tissue.MARROW] > 2 * s[Tissue.MUSCLE]
    assert s[Tissue.AIR] == 0
    assert s[Tissue.CORTEX] < 0.01


def test_texture_has_unit_variance_and_two_scales():
    texture = draw_texture(np.random.default_rng(3))
    for block in (texture.fine, texture.coarse):
        assert abs(block.mean()) < 1e-3
        assert block.std() == pytest.approx(1, abs=1e-3)
    neighbours = [np.mean(block * np.roll(block, 2, axis=0)) for block in (texture.fine, texture.coarse)]
    assert neighbours[0] < 0.6 < 0.85 < neighbours[1]
