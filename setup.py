"""Adds the notebooks to the wheel; all else about the package stands in pyproject.toml."""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py


class BuildWithNotebooks(build_py):
    """Copies `notebooks/` into the package, so that `tll run` needs no checkout."""

    def run(self) -> None:
        super().run()
        if self.editable_mode:
            return  # the checkout is at hand
        target = Path(self.build_lib) / "tll_utils" / "_notebooks"
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir(parents=True)
        for path in sorted(Path("notebooks").glob("[0-9]*.ipynb")):
            shutil.copy2(path, target / path.name)


setup(cmdclass={"build_py": BuildWithNotebooks})
