"""Which notebooks a run takes, and the worker in which it tries what they need before it starts.

What it refuses is in tests/test_main.py.
"""

import os
import signal
import subprocess
import sys
import time

import pytest

from tll_utils import plan
from tll_utils.errors import NotebookError


def test_find_notebooks_selects_by_first_letters(tmp_path):
    for name in ("02_b", "01_a", "draft"):
        (tmp_path / f"{name}.ipynb").touch()
    names = [path.stem for path in plan.find_notebooks(directory=tmp_path)]
    assert names == ["01_a", "02_b"]
    assert [p.stem for p in plan.find_notebooks(["02"], directory=tmp_path)] == ["02_b"]
    with pytest.raises(NotebookError, match="one of 01_a, 02_b. Received: '09'"):
        plan.find_notebooks(["09"], directory=tmp_path)
    with pytest.raises(NotebookError, match="no notebooks here"):
        plan.find_notebooks(directory=tmp_path / "none")


def test_end_with_parent_leaves_no_worker_behind(tmp_path):
    script = tmp_path / "pool.py"
    script.write_text(
        "import multiprocessing, os, sys, time\n"
        "from concurrent.futures import ProcessPoolExecutor\n"
        "from tll_utils.plan import end_with_parent\n"
        "if __name__ == '__main__':\n"
        "    context = multiprocessing.get_context('spawn')\n"
        "    pool = ProcessPoolExecutor(1, mp_context=context, initializer=end_with_parent)\n"
        "    print(pool.submit(os.getpid).result(), flush=True)\n"
        "    time.sleep(600)\n"
    )
    parent = subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE)
    worker = int(parent.stdout.readline())
    parent.kill()
    parent.wait()
    for _ in range(300):
        try:
            os.kill(worker, 0)
        except ProcessLookupError:
            return
        time.sleep(0.1)
    os.kill(worker, signal.SIGKILL)
    pytest.fail("the worker is still there")
