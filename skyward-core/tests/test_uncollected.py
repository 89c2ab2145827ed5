"""No search for garbage while much is loaded, and afterwards as before."""

from __future__ import annotations

import gc

import pytest

from skyward._uncollected import uncollected


@pytest.mark.parametrize("before", [True, False])
def test_garbage_is_searched_for_again_after_the_block_if_it_was_before(before: bool) -> None:
    was = gc.isenabled()
    try:
        (gc.enable if before else gc.disable)()
        with pytest.raises(KeyError), uncollected():
            assert not gc.isenabled()
            raise KeyError
        assert gc.isenabled() is before
    finally:
        (gc.enable if was else gc.disable)()
