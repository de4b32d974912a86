"""The folder's own: a limit of memory, a cache for each test, a record of what was tried."""

import json
import os
import resource
from pathlib import Path

import pytest
from fuzzing import tally

SPARE = 3 * 2**30  # bytes that a test may take on top of what the process has
failed: dict[str, str] = {}


@pytest.fixture(autouse=True)
def bounded_memory(request):
    """Whoever unpacks a bomb fails here, and not the machine; children have their own limits.

    At full size alone, where these tests have a process of their own: a library that others have
    loaded there may abort when its threads get no memory.
    """
    if "feed" not in request.module.__name__ or os.environ.get("TLL_FUZZ") != "full":
        yield
        return
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    before = resource.getrlimit(resource.RLIMIT_AS)
    limit = pages * resource.getpagesize() + SPARE
    resource.setrlimit(resource.RLIMIT_AS, (limit, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, before)


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("TLL_CACHE_DIR", str(tmp_path / "cache"))


def pytest_runtest_logreport(report):
    if report.failed:
        failed[report.nodeid] = str(report.longrepr)[-2000:]


def pytest_sessionfinish():
    if path := os.environ.get("TLL_FUZZ_REPORT"):
        Path(path).write_text(json.dumps({"tally": tally, "failed": failed}, indent=1))
