"""matplotlib is optional, and loads when something is drawn."""

import subprocess
import sys

import pytest

from mmfusion.plotting import LossCurveDisplay


def test_displays_are_imported_without_matplotlib_and_torch():
    code = (
        "import sys, mmfusion.plotting; "
        "print(*{'matplotlib', 'torch', 'skorch'} & sys.modules.keys())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == ""


def test_without_matplotlib_the_error_names_the_remedy(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    with pytest.raises(ImportError, match=r'pip install "mmfusion\[plot\]"'):
        LossCurveDisplay.from_predictions([{"sc": 1.0}])
