"""The UCR and UEA archives, by a local server in their place."""

import sys
import threading
import zipfile
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from mmfusion.datasets import fetch_ucr_uea

pytest.importorskip("tslearn")
from tslearn.datasets import ucr_uea

RISING, FALLING = [0.0, 1.0, 2.0], [2.0, 1.0, 0.0]
UNIVARIATE = {
    "Steps_TRAIN.txt": "  2 0.0 1.0 2.0\n  7 2.0 1.0 0.0\n",
    "Steps_TEST.txt": "  7 4.0 2.0 0.0\n  2 0.0 0.0 1.0\n",
}
HEAD = """@relation Moves
@attribute relationalAtt relational
 @attribute t0 numeric
 @attribute t1 numeric
@end relationalAtt
@attribute activity {rest,run}
@data
"""
MULTIVARIATE = {
    "Moves_TRAIN.arff": HEAD + "'1.0,2.0\\n3.0,4.0\\n5.0,6.0',run\n",
    "Moves_TEST.arff": HEAD + "'1.0,?\\n3.0,?\\n5.0,?',rest\n",
}


class Handler(SimpleHTTPRequestHandler):
    def do_GET(self):
        self.server.requested.append(self.path)
        super().do_GET()

    def log_message(self, *args):
        pass


@pytest.fixture
def archive(tmp_path, monkeypatch):
    """A server with the zip files of two data sets, and one that is damaged."""
    if not hasattr(ucr_uea, "BASE_URL"):
        pytest.skip("the address of the archive is fixed in old versions of tslearn")
    folder = tmp_path / "served"
    folder.mkdir()
    for name, files in [("Steps", UNIVARIATE), ("Moves", MULTIVARIATE)]:
        with zipfile.ZipFile(folder / f"{name}.zip", "w") as zipped:
            for file, content in files.items():
                zipped.writestr(file, content)
    (folder / "Damaged.zip").write_bytes(b"no zip file")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    handler = partial(Handler, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.requested = []
        url = f"http://127.0.0.1:{server.server_port}/"
        monkeypatch.setattr(ucr_uea, "BASE_URL", url)
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_series_are_downloaded_once_and_read(archive, tmp_path):
    bunch = fetch_ucr_uea("Steps", data_home=tmp_path)
    assert [s.ravel().tolist() for s in bunch.data["series"]] == [
        RISING,
        FALLING,
        [4.0, 2.0, 0.0],
        [0.0, 0.0, 1.0],
    ]
    assert bunch.target.tolist() == [0, 1, 1, 0]
    assert bunch.target_names.tolist() == ["2", "7"]
    assert "4 series of 1 channels, 2 classes" in bunch.DESCR
    assert archive.requested == ["/Steps.zip"]  # no lists of all data sets
    options = dict(data_home=tmp_path, download_if_missing=False, return_X_y=True)
    X, y = fetch_ucr_uea("Steps", split="test", **options)
    assert X.shape == (2, 1)
    assert y.tolist() == [1, 0]
    X, _ = fetch_ucr_uea("Steps", split="train", **options)
    assert X.shape == (2, 1)
    assert archive.requested == ["/Steps.zip"]


def test_channels_are_divided_among_modalities_and_lengths_differ(archive, tmp_path):
    bunch = fetch_ucr_uea(
        "Moves", modalities={"hand": [0, 2], "foot": [1]}, data_home=tmp_path
    )
    assert bunch.data.names == ("hand", "foot")
    first, second = bunch.data["hand"]
    np.testing.assert_array_equal(first, [[1, 5], [2, 6]])
    np.testing.assert_array_equal(second, [[1, 5]])
    np.testing.assert_array_equal(bunch.data["foot"][0], [[3], [4]])
    assert bunch.target_names.tolist() == ["rest", "run"]


@pytest.mark.parametrize("name", ["Unknown", "Damaged"])
def test_a_download_that_fails_names_the_remedy(archive, tmp_path, name):
    with pytest.raises(OSError, match=rf"cannot load {name}.*or put {name}_TRAIN.txt"):
        fetch_ucr_uea(name, data_home=tmp_path)


def test_without_a_connection_the_folder_is_named(archive, tmp_path, monkeypatch):
    monkeypatch.setattr(ucr_uea, "BASE_URL", "http://127.0.0.1:1/")
    with pytest.raises(OSError, match=r"cannot load Steps.*ucr_uea"):
        fetch_ucr_uea("Steps", data_home=tmp_path)
    with pytest.raises(OSError, match=r"Steps is not in .*download_if_missing=False"):
        fetch_ucr_uea("Steps", data_home=tmp_path / "new", download_if_missing=False)
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("params", "match"),
    [
        ({"name": "../Steps"}, "name='../Steps'; give the name"),
        ({"name": None}, "name=None"),
        ({"split": "half"}, "split='half'; give one of"),
        ({"modalities": {"hand": [3]}}, r"modalities\['hand'\] is \[3\].*1 channels"),
        ({"modalities": {"hand": []}}, r"modalities\['hand'\]"),
        ({"modalities": [0]}, r"modalities=\[0\]; give a dict"),
    ],
    ids=str,
)
def test_odd_arguments_are_refused(archive, tmp_path, params, match):
    with pytest.raises(ValueError, match=match):
        fetch_ucr_uea(**{"name": "Steps", "data_home": tmp_path, **params})


def test_the_error_without_tslearn_names_the_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tslearn.datasets", None)
    with pytest.raises(ImportError, match=r'tslearn: pip install "mmfusion\[align\]"'):
        fetch_ucr_uea("Steps", data_home=tmp_path)
