"""Versions are shown of all packages, also those that are not installed."""

import importlib.metadata

import numpy
import sklearn

import mmfusion
from mmfusion import versions as versions_module


def shown(capsys):
    mmfusion.show_versions()
    lines = capsys.readouterr().out.splitlines()
    return dict(line.strip().split(": ", 1) for line in lines if ": " in line)


def test_versions_are_those_of_the_packages(capsys):
    versions = shown(capsys)
    assert versions["mmfusion"] == mmfusion.__version__
    assert versions["numpy"] == numpy.__version__
    assert versions["scikit-learn"] == sklearn.__version__
    assert {"torch", "numba", "matplotlib", "pandas", "tqdm", "rich"} <= versions.keys()
    assert not {"pytest", "ruff", "sphinx"} & versions.keys()


def test_what_is_not_installed_has_no_version(capsys, monkeypatch):
    def version(name):
        if name == "rich":
            raise importlib.metadata.PackageNotFoundError
        return "1.0"

    monkeypatch.setattr(versions_module, "version", version)
    assert shown(capsys)["rich"] == "None"


def test_a_copy_of_the_source_shows_what_is_required(capsys, monkeypatch):
    def requires(name):
        raise importlib.metadata.PackageNotFoundError

    monkeypatch.setattr(versions_module, "requires", requires)
    versions = shown(capsys)
    assert {"numpy", "scikit-learn"} <= versions.keys()
    assert "torch" not in versions
