import torch
from hypothesis import given
from hypothesis import strategies as st

from prostate_uda.maths.stacks import adjacent_slices


def test_neighbours_stop_at_the_ends():
    index = torch.tensor([0, 2, 4])
    assert adjacent_slices(index, 3, 0, 4).tolist() == [[0, 0, 1], [1, 2, 3], [3, 4, 4]]
    assert adjacent_slices(torch.tensor([2]), 1, 0, 9).tolist() == [[2]]


def test_every_slice_may_have_ends_of_its_own():
    first, last = torch.tensor([0, 3]), torch.tensor([2, 8])
    assert adjacent_slices(torch.tensor([2, 3]), 5, first, last).tolist() == [[0, 1, 2, 2, 2], [3, 3, 3, 4, 5]]


@given(slices=st.integers(1, 12), depth=st.sampled_from([1, 3, 5, 7]))
def test_the_middle_is_the_slice_itself_and_rows_never_descend(slices, depth):
    around = adjacent_slices(torch.arange(slices), depth, 0, slices - 1)
    assert torch.equal(around[:, depth // 2], torch.arange(slices))
    assert (around.diff(dim=1) >= 0).all()
    assert around.min() >= 0
    assert around.max() < slices
