"""Downloads from a local server: verification by hash, caching, parsing."""

import sys
import threading
from contextlib import contextmanager, suppress
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from itertools import repeat

import numpy as np
import pytest

from mmfusion.datasets import (
    fetch_100leaves,
    fetch_handwritten,
    fetch_msrcv1,
    load_npz,
)

N_BYTES = 1114705  # of the file of fetch_msrcv1

FETCHERS = [
    (fetch_handwritten, "handwritten_mfeat", 6),
    (fetch_msrcv1, "msrcv1_5v", 1),
    (fetch_100leaves, "100leaves", 1),
]


class Server(ThreadingHTTPServer):
    """A mirror of public repositories that records the requested paths."""

    def __init__(self, folder):
        super().__init__(("127.0.0.1", 0), partial(Handler, directory=str(folder)))
        self.requested = []
        self.answer = None  # instead of the file
        self.refuses = self.promises = False
        self.n_sent = 0

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}"


class Handler(SimpleHTTPRequestHandler):
    def do_GET(self):
        self.server.requested.append(self.path)
        self.path = "/" + self.path.rpartition("/")[2]  # the folder here is flat
        if self.server.refuses:
            self.send_error(404)
        elif self.server.answer is not None:
            self.send_response(200)
            if self.server.promises:
                self.send_header("Content-Length", str(N_BYTES))
            self.end_headers()
            self.send_other()
        else:
            super().do_GET()

    def send_other(self):
        with suppress(OSError):  # when the client has disconnected
            for piece in self.server.answer:
                self.wfile.write(piece)
                self.server.n_sent += len(piece)

    def log_message(self, *args):
        pass


@contextmanager
def running(folder):
    with Server(folder) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def server(shared_data, monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with running(shared_data / "raw") as server:
        yield server


@pytest.fixture
def other_server(tmp_path, monkeypatch):
    """A server that sends another content."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with running(tmp_path) as server:
        yield server


@pytest.mark.parametrize(("fetch", "name", "n_files"), FETCHERS)
def test_fetched_data_equal_the_npz_of_the_same_source(
    server, shared_data, tmp_path, fetch, name, n_files
):
    fetched = fetch(data_home=tmp_path, base_url=server.url)
    expected = load_npz(shared_data / f"{name}.npz")
    np.testing.assert_array_equal(fetched.target, expected.target)
    assert fetched.target.dtype == np.int64
    assert fetched.target_names.astype(float).tolist() == [
        float(label) for label in expected.target_names
    ]
    assert fetched.data.shape == expected.data.shape
    for block, same in zip(fetched.data.blocks, expected.data.blocks, strict=True):
        assert block.dtype == np.float64
        np.testing.assert_array_equal(block.astype(np.float32), same)
    for modality in fetched.data.names:
        assert modality in fetched.DESCR


@pytest.mark.parametrize(("fetch", "name", "n_files"), FETCHERS)
def test_a_second_call_does_not_download_again(server, tmp_path, fetch, name, n_files):
    options = dict(data_home=tmp_path, base_url=server.url)
    first = fetch(**options)
    assert len(set(server.requested)) == len(server.requested) == n_files
    X, y = fetch(return_X_y=True, **options)
    assert len(server.requested) == n_files
    assert first.data == X
    np.testing.assert_array_equal(y, first.target)
    offline = fetch(data_home=tmp_path, download_if_missing=False)
    assert offline.data == X


def test_files_are_requested_by_repository_commit_and_path(server, tmp_path):
    fetch_msrcv1(data_home=tmp_path, base_url=server.url + "/")
    assert server.requested == [
        "/youweiliang/Multi-view_Clustering/"
        "838536e3118c19782358b2550bbee6119baa90bd/data/MSRC_v1.mat"
    ]


def files_in(folder):
    return [path for path in folder.rglob("*") if path.is_file()]


@pytest.mark.parametrize("content", [b"", b"not the requested file", bytes(N_BYTES)])
def test_a_file_with_another_hash_is_refused_and_discarded(
    other_server, tmp_path, content
):
    other_server.answer = [content]
    message = (
        rf"MSRC_v1.mat is not the expected file.* {len(content)} bytes have another"
    )
    with pytest.raises(ValueError, match=message):
        fetch_msrcv1(data_home=tmp_path, base_url=other_server.url)
    assert files_in(tmp_path) == []


def test_a_truncated_download_is_discarded(other_server, tmp_path):
    other_server.answer, other_server.promises = [bytes(1000)], True
    with pytest.raises(OSError, match=r"cannot download .*MSRC_v1.mat.*give base_url="):
        fetch_msrcv1(data_home=tmp_path, base_url=other_server.url)
    assert files_in(tmp_path) == []


def test_a_download_stops_at_the_known_size(other_server, tmp_path):
    other_server.answer = repeat(bytes(2**16))
    with pytest.raises(
        ValueError, match=r"MSRC_v1.mat is not .*discarded: the content is longer"
    ):
        fetch_msrcv1(data_home=tmp_path, base_url=other_server.url)
    assert files_in(tmp_path) == []
    assert other_server.n_sent < 2**26  # data in transit when the client disconnects


@pytest.mark.parametrize(
    ("options", "error", "match"),
    [
        (dict(base_url=None), TypeError, "base_url is a NoneType"),
        (dict(base_url=""), OSError, "give base_url="),
        (dict(base_url="nonsense://x"), OSError, "give base_url="),
        (dict(base_url="http://"), OSError, "give base_url="),
        (dict(data_home=3), TypeError, "data_home is a int"),
        (dict(data_home="a\0b"), ValueError, "data_home="),
    ],
)
@pytest.mark.parametrize("fetch", [fetch for fetch, _, _ in FETCHERS])
def test_odd_options_are_refused(tmp_path, fetch, options, error, match):
    with pytest.raises(error, match=match):
        fetch(**{"data_home": tmp_path, **options})


def test_the_error_of_a_full_disk_names_the_remedy(server, small_disk):
    with pytest.raises(OSError, match=r"MSRC_v1.mat'.* the disk is full; free some"):
        fetch_msrcv1(data_home=small_disk, base_url=server.url)
    assert files_in(small_disk) == []


def test_the_error_of_a_folder_that_cannot_be_created_names_the_remedy(
    server, tmp_path
):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OSError, match=r"cannot write .*file.* give another path"):
        fetch_msrcv1(data_home=tmp_path / "file", base_url=server.url)


def test_a_file_damaged_on_disk_is_reported_or_downloaded_again(server, tmp_path):
    options = dict(data_home=tmp_path, base_url=server.url)
    whole = fetch_msrcv1(**options)
    (path,) = files_in(tmp_path)
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(OSError, match=r"MSRC_v1.mat is damaged, and download_if"):
        fetch_msrcv1(download_if_missing=False, **options)
    assert fetch_msrcv1(**options).data == whole.data
    assert len(server.requested) == 2


def test_the_error_of_a_missing_file_names_its_size_and_address(tmp_path):
    message = r"100leaves.mat is missing.*1078353 bytes.*https://.*cshaowang/gmc"
    with pytest.raises(OSError, match=message):
        fetch_100leaves(data_home=tmp_path, download_if_missing=False)


def test_the_error_of_a_server_without_the_file_names_the_remedy(server, tmp_path):
    server.refuses = True
    with pytest.raises(OSError, match=r"cannot download .*404.*give base_url= of a"):
        fetch_msrcv1(data_home=tmp_path, base_url=server.url)


def test_the_folder_is_that_of_the_argument_or_else_of_the_environment(
    server, tmp_path, monkeypatch
):
    monkeypatch.setenv("MMFUSION_DATA", str(tmp_path / "environment"))
    fetch_msrcv1(base_url=server.url)
    assert list((tmp_path / "environment").rglob("MSRC_v1.mat"))
    with pytest.raises(OSError, match="argument"):
        fetch_msrcv1(data_home=tmp_path / "argument", download_if_missing=False)


def test_the_folder_is_pooch_s_cache_by_default(tmp_path, monkeypatch):
    pooch = pytest.importorskip("pooch")
    monkeypatch.delenv("MMFUSION_DATA", raising=False)
    monkeypatch.setattr(pooch, "os_cache", lambda project: tmp_path / f"of {project}")
    with pytest.raises(OSError, match="of mmfusion"):
        fetch_msrcv1(download_if_missing=False)


def test_the_error_without_pooch_names_the_remedy(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pooch", None)
    with pytest.raises(ImportError, match=r'pip install "mmfusion\[datasets\]"'):
        fetch_msrcv1(data_home=tmp_path)
