"""``python -m mmfusion``: what it prints, writes and refuses."""

import io
import re
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from scipy.io import savemat

import mmfusion
from mmfusion import __main__ as command_line
from mmfusion._extras import import_extra
from mmfusion.benchmark import _registry as registry
from mmfusion.benchmark import methods
from mmfusion.datasets import make_multimodal_blobs, save_npz


@pytest.fixture
def npz(tmp_path):
    X, y = make_multimodal_blobs(40, {"audio": 3, "text": 4}, random_state=0)
    save_npz(tmp_path / "small.npz", X, y)
    return tmp_path / "small.npz"


def refused(capsys, *arguments):
    with pytest.raises(SystemExit) as stop:
        command_line.main(list(arguments))
    assert stop.value.code == 2
    error = capsys.readouterr().err
    assert "Traceback" not in error
    return error.splitlines()[-1]


def test_compare_prints_the_table_and_writes_the_report(npz, tmp_path, capsys):
    out = tmp_path / "report"
    arguments = ["--data", "blobs", str(npz), "--methods", "early", "baselines"]
    arguments += ["--repeats", "1", "--metrics", "purity", "--out", str(out)]
    status = command_line.main(["compare", *arguments])
    printed = capsys.readouterr()
    assert status == 0
    assert "| method" in printed.out
    assert "modality audio" in printed.out
    assert "spectral concatenation" in printed.out
    assert printed.out.splitlines()[-1] == f"Report: {out / 'report.html'}"
    assert "(14 of 14)" in printed.err  # 7 methods on each of 2 data sets
    written = {path.name for path in out.iterdir()}
    assert written == {
        "cells",
        "report.html",
        "table.md",
        "table.tex",
        "results.csv",
    }
    assert (out / "table.md").read_text("utf-8") in printed.out


def test_an_interrupt_is_reported_in_one_line(npz, tmp_path, capsys, monkeypatch):
    def interrupted(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(command_line, "compare", interrupted)
    status = command_line.main(["compare", "--data", str(npz)])
    assert status == 130
    assert "resumes the run" in capsys.readouterr().err


def test_a_reader_that_ends_early_is_no_error():
    command = [sys.executable, "-m", "mmfusion", "list"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        process.stdout.close()  # before anything is printed
        assert process.stderr.read() == b""
    assert process.returncode == 0


def test_a_comparison_of_failures_only_exits_with_1(tmp_path, capsys):
    X, y = make_multimodal_blobs(30, missing_rate=0.3, random_state=0)
    save_npz(tmp_path / "holes.npz", X, y)
    arguments = ["compare", "--data", str(tmp_path / "holes.npz"), "--repeats", "1"]
    arguments += ["--methods", "early", "--out", str(tmp_path / "out")]
    assert command_line.main(arguments) == 1
    assert "early on holes, 1 x: ValueError: modality" in capsys.readouterr().out


def test_classifiers_are_compared_by_a_task(npz, tmp_path, capsys):
    arguments = ["--task", "classification", "--data", str(npz), "--folds", "3"]
    arguments += ["--methods", "early", "dummy", "--repeats", "2"]
    arguments += ["--out", str(tmp_path / "out")]
    assert command_line.main(["compare", *arguments]) == 0
    printed = capsys.readouterr()
    assert "(12 of 12)" in printed.err  # 2 methods, 2 seeds, 3 folds
    assert "### balanced_accuracy" in printed.out
    assert "On small, early is first of 2 methods by accuracy" in printed.out


def test_list_names_methods_data_sets_and_metrics(capsys):
    assert command_line.main(["list"]) == 0
    printed = capsys.readouterr().out
    for name in [*methods(), "baselines", *registry.NAMED_DATASETS, "purity"]:
        assert f"  {name}" in printed


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "required: command"),
        (["compare", "--task", "sorting"], "invalid choice: 'sorting'"),
        (["compare", "--task", "regression", "--methods", "spectral"], "no method"),
        (["compare", "--data", "nowhere.npz"], "'nowhere.npz' is neither a file nor"),
        (["compare", "--data", "digit"], "'digit' is neither.*'digits'"),
        (["compare", "--data", "blobs", "--methods", "magic"], "no method 'magic'"),
        (["compare", "--data", "blobs", "--metrics", "beauty"], "no metric 'beauty'"),
        (["compare", "--data", "blobs", "--repeats", "0"], "n_repeats=0"),
        (["compare", "--data", "blobs", "--repeats", "many"], "--repeats: invalid int"),
        (["compare", "--data", "blobs", "blobs"], "two data sets are called 'blobs'"),
        (["compare", "--data", ""], "'' is neither a file nor"),
        (["compare", "--data", "a\0b"], "is neither a file nor"),
        (["compare", "--data", "two\nlines"], r"'two\\nlines' is neither a file"),
        (["compare", "--data", "."], "'.' is neither a file nor"),
        (["compare", "--data", "x" * 300], "x{300}"),
        (["compare", "--data", "blobs", "--jobs", "0"], "n_jobs=0"),
        (["compare", "--data", "blobs", "--repeats", "9" * 30], "n_repeats=999"),
        (["compare", "--data", "blobs", "--repeats", "-1"], "n_repeats=-1"),
        (["compare", "--data", "blobs", "--methods", ""], "no method ''"),
        (["compare", "--data", "blobs", "--out", ""], "--out='' is empty"),
        (["compare", "--data", "blobs", "--out", "a\0b"], r"--out='a.*' is empty or"),
        (["compare", "--data", "blobs", "--out", "x" * 300], "x{300}.* shorter path"),
        (["cluster"], "invalid choice: 'cluster'"),
        (["compare", "--fast"], "--fast is for a preset; give --preset eamc"),
        (["compare", "--preset", "none"], "invalid choice: 'none'"),
        (["compare", "--preset", "eamc-losses", "--fast"], "leave out fast"),
        (["compare", "--preset", "eamc", "--methods", "snf"], "not allowed with"),
        (["compare", "--preset", "eamc", "--task", "regression"], "leave out --task"),
        (["compare", "--data", "blobs", "--subsample", "2"], "subsample=2.0"),
    ],
)
def test_wrong_usage_is_refused_without_a_traceback(
    arguments, message, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    assert re.search(message, refused(capsys, *arguments))


def test_files_that_are_not_of_modalities_are_refused(tmp_path, capsys):
    text = tmp_path / "text.npz"
    text.write_text("nothing")
    assert "text.npz" in refused(capsys, "compare", "--data", str(text))
    without = tmp_path / "without.npz"
    np.savez(without, view_0=np.eye(4), view_1=np.eye(4))
    error = refused(capsys, "compare", "--data", str(without))
    assert "'without' has no classes" in error


@pytest.mark.parametrize("content", [b"", bytes(range(256)), b"PK\3\4"])
def test_damaged_files_are_refused(tmp_path, capsys, content):
    (tmp_path / "file.npz").write_bytes(content)
    error = refused(capsys, "compare", "--data", str(tmp_path / "file.npz"))
    assert f"error: {tmp_path / 'file.npz'} is not an npz file" in error


def test_measured_targets_and_taken_names_are_refused(npz, tmp_path, capsys):
    X, y = make_multimodal_blobs(40, random_state=0)
    out = ("--out", str(tmp_path / "out"))
    save_npz(tmp_path / "measured.npz", X, y / 2)
    error = refused(capsys, "compare", *out, "--data", str(tmp_path / "measured.npz"))
    assert "'measured': its target holds measured values" in error
    npz.rename(tmp_path / "mean.npz")
    error = refused(capsys, "compare", *out, "--data", str(tmp_path / "mean.npz"))
    assert "a data set cannot be called 'mean'" in error
    assert not (tmp_path / "out").exists()


def test_a_folder_that_cannot_be_written_is_refused(npz, tmp_path, capsys):
    for out in (npz, npz / "below"):
        error = refused(capsys, "compare", "--data", str(npz), "--out", str(out))
        assert f"cannot write '{npz}" in error
        assert "give another path" in error


@pytest.mark.parametrize("name", ["-$x$ %=<b>", "two\nlines 漢"])
def test_files_and_folders_may_have_any_name(npz, tmp_path, monkeypatch, name):
    printed = io.TextIOWrapper(io.BytesIO(), encoding="ascii", write_through=True)
    monkeypatch.setattr(sys, "stdout", printed)
    npz.rename(tmp_path / f"{name}.npz")
    data, out = tmp_path / f"{name}.npz", tmp_path / name / name
    arguments = ["compare", "--data", str(data), "--out", str(out)]
    arguments += ["--methods", "early", "--repeats", "1", "--metrics", "purity"]
    assert command_line.main(arguments) == 0
    assert (out / "report.html").exists()
    assert b"report.html" in printed.buffer.getvalue()


def test_a_full_disk_is_reported_in_one_line(npz, small_disk, capsys):
    (small_disk / "large").write_bytes(bytes(300 * 2**10 - 3 * 4096))
    error = refused(capsys, "compare", "--data", str(npz), "--out", str(small_disk))
    assert "bytes left, and the cells need" in error


def test_data_sets_are_fetched_by_name(monkeypatch):
    calls = []
    entry = registry.Entry(lambda: calls.append("fetched") or "data", "")
    monkeypatch.setitem(registry.NAMED_DATASETS, "handwritten", entry)
    assert registry.load_dataset("handwritten") == ("handwritten", "data")
    assert calls == ["fetched"]


@pytest.mark.parametrize(
    "name", ["digits", "breast-cancer", "wine", "diabetes", "blobs"]
)
def test_data_sets_that_need_no_network_load(name):
    _, data = registry.load_dataset(name)
    X, y = data if isinstance(data, tuple) else (data.data, data.target)
    assert len(X) == len(y)


def test_tables_and_matlab_files_are_compared(tmp_path, capsys):
    X, y = make_multimodal_blobs(40, {"audio": 3, "text": 4}, random_state=0)
    names = [f"a_{j}" for j in range(3)] + [f"t_{j}" for j in range(4)]
    table = pd.DataFrame(X.to_array(), columns=names).assign(label=y)
    table.to_csv(tmp_path / "table.csv", index=False)
    cell = np.empty(2, dtype=object)
    cell[:] = [block.T for block in X.blocks]
    savemat(tmp_path / "paper.mat", {"X": cell, "kind": y + 1})
    common = ["--methods", "early", "--repeats", "1", "--metrics", "purity"]
    for file, *options in (
        ("table.csv", "--target", "label", "--modalities", "audio=a_*", "text=t_*"),
        ("table.csv", "--target", "label", "--modalities", "3", "4"),
        ("paper.mat", "--target", "kind", "--modalities", "audio=X{1}", "text=X{2}"),
        ("paper.mat", "--target", "kind", "--samples", "columns"),
    ):
        data = ["--data", str(tmp_path / file), *options]
        out = ["--out", str(tmp_path / "-".join(options)).replace("*", "")]
        assert command_line.main(["compare", *data, *common, *out]) == 0
        assert "1.000" in capsys.readouterr().out
    path = str(tmp_path / "table.csv")
    error = refused(capsys, "compare", "--data", path, *common)
    assert "has no classes to score against" in error
    assert "--target" in error
    error = refused(
        capsys, "compare", "--data", path, "--modalities", "a=b", "c", *common
    )
    assert "give NAME=COLUMNS for every modality" in error
    command_line.main(["list"])
    assert ".h5mu .h5ad" in capsys.readouterr().out


def test_layers_and_obsm_of_anndata_are_chosen(tmp_path, capsys):
    anndata = pytest.importorskip("anndata")
    X, y = make_multimodal_blobs(40, {"rna": 3, "text": 4}, random_state=0)
    rna, text = (9.0 * y[:, None] + block for block in X.blocks)
    obs = pd.DataFrame({"kind": y}, index=pd.Index(map(str, range(40)), dtype=object))
    var = pd.DataFrame(index=pd.Index(list("abc"), dtype=object))
    adata = anndata.AnnData(0 * rna, obs, var, layers={"log": rna}, obsm={"text": text})
    adata.write_h5ad(tmp_path / "cells.h5ad")
    data = ["compare", "--data", str(tmp_path / "cells.h5ad"), "--target", "kind"]
    common = ["--methods", "early", "--repeats", "1", "--metrics", "purity"]
    for k, chosen in enumerate((["--layers", "log"], ["--obsm", "prot=text"])):
        out = ["--out", str(tmp_path / str(k))]
        assert command_line.main([*data, *chosen, *common, *out]) == 0
        assert "1.000" in capsys.readouterr().out
    out = ["--out", str(tmp_path / "none")]
    error = refused(capsys, *data, "--layers", "raw", *common, *out)
    assert "no 'raw' in layers; choose layers= of ['X', 'log']" in error


def test_the_module_runs_and_loads_nothing_optional():
    code = (
        "import sys, sklearn.cluster, sklearn.metrics\n"
        "loaded = set(sys.modules)  # pandas, by scikit-learn itself\n"
        "import mmfusion.benchmark, mmfusion.__main__\n"
        "optional = {'pandas', 'matplotlib', 'tqdm', 'pooch', 'torch'}\n"
        "print(optional & set(sys.modules) - loaded)"
    )
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert found.stdout.strip() == "set()"
    listed = subprocess.run(
        [sys.executable, "-m", "mmfusion", "list"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "baselines" in listed.stdout


@pytest.mark.parametrize(
    ("missing", "extra"),
    [("pandas", "benchmark"), ("tqdm", "benchmark"), ("matplotlib", "plot")],
)
def test_what_is_not_installed_is_named_with_the_remedy(missing, extra, monkeypatch):
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(ImportError, match=rf'{missing}.*"mmfusion\[{extra}\]"'):
        import_extra(missing)


@pytest.mark.parametrize(
    ("called", "name"),
    [("bin/mmfusion", "mmfusion"), ("mmfusion/__main__.py", "python -m mmfusion")],
)
def test_usage_and_version_are_those_of_the_form_of_the_call(
    called, name, monkeypatch, capsys
):
    monkeypatch.setattr(sys, "argv", [called])
    for option in ("--help", "--version"):
        with pytest.raises(SystemExit) as stop:
            command_line.main([option])
        assert stop.value.code == 0
    printed = capsys.readouterr().out
    assert printed.startswith(f"usage: {name} [-h]")
    assert printed.endswith(f"mmfusion {mmfusion.__version__}\n")
