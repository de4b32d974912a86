"""Progress bars: walk all items, shown or silenced."""

import pytest

from tll_utils import progress


@pytest.mark.parametrize(("shown", "variable"), [(True, ""), (False, ""), (True, "1")])
def test_bar_walks_all_items_and_speaks_only_when_asked(monkeypatch, capsys, shown, variable):
    monkeypatch.setenv("TQDM_DISABLE", variable)
    assert list(progress.bar([1, 2, 3], shown=shown, desc="count")) == [1, 2, 3]
    assert ("count" in capsys.readouterr().err) == (shown and not variable)
