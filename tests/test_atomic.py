"""Files are written completely or not at all."""

import errno
import os
import stat
import subprocess
import sys
import textwrap

import pytest

from mmfusion._atomic import write_atomically


def write(path, content, mode="wb"):
    with write_atomically(path, mode) as file:
        file.write(content)


def fail_halfway(file, failure):
    file.write(b"half")
    raise failure("inside")


def test_a_file_is_written_and_replaced(tmp_path):
    path = tmp_path / "file"
    write(path, b"old")
    write(str(path), b"new")
    assert path.read_bytes() == b"new"
    assert os.listdir(tmp_path) == ["file"]


def test_text_is_utf8_with_the_ends_of_lines_that_were_given(tmp_path):
    write(tmp_path / "file", "ü\r\n\n", "w")
    assert (tmp_path / "file").read_bytes() == "ü\r\n\n".encode()


@pytest.mark.parametrize("failure", [ValueError, KeyboardInterrupt, MemoryError])
def test_after_a_failure_only_the_old_file_exists(tmp_path, failure):
    path = tmp_path / "file"
    write(path, b"old")
    with pytest.raises(failure), write_atomically(path) as file:
        fail_halfway(file, failure)
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["file"]


def test_the_old_file_exists_until_the_end_and_the_new_name_is_unpredictable(
    tmp_path,
):
    path = tmp_path / "file"
    names = set()
    for _ in range(2):
        path.write_bytes(b"old")
        with write_atomically(path) as file:
            file.write(b"new")
            file.flush()
            assert path.read_bytes() == b"old"
            names |= set(os.listdir(tmp_path)) - {"file"}
    assert len(names) == 2


@pytest.mark.skipif(os.name != "posix", reason="permissions and links of POSIX")
def test_permissions_and_symbolic_links_are_kept(tmp_path):
    path, link = tmp_path / "file", tmp_path / "link"
    write(path, b"old")
    mask = os.umask(0)
    os.umask(mask)
    assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~mask
    path.chmod(0o640)
    link.symlink_to(path)
    write(link, b"new")
    assert link.is_symlink()
    assert path.read_bytes() == b"new"
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


@pytest.mark.skipif(not os.path.exists("/dev/null"), reason="no /dev/null")
def test_a_device_is_not_replaced():
    write("/dev/null", b"gone")
    assert not os.path.isfile("/dev/null")


@pytest.mark.parametrize(
    ("name", "number", "remedy"),
    [
        ("no/such/folder/file", errno.ENOENT, "create it first"),
        ("file/in/a/file", errno.ENOTDIR, "not a folder"),
        ("folder", errno.EISDIR, "path of a file"),
        ("x" * 300, errno.ENAMETOOLONG, "shorter path"),
    ],
)
def test_errors_name_path_and_remedy(tmp_path, name, number, remedy):
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError, match=remedy) as caught:
        write(tmp_path / name, b"")
    assert caught.value.errno == number
    assert str(tmp_path / name) in str(caught.value)


@pytest.mark.parametrize("path", ["", "a\0b", "a\ud800b"])
def test_text_that_is_not_a_path_is_refused(path):
    with pytest.raises(ValueError, match=r"path='.*' (is empty or|cannot be encoded)"):
        write(path, b"")


@pytest.mark.parametrize("path", [None, 3, ["file"]])
def test_other_types_are_not_paths(path):
    with pytest.raises(TypeError, match=r"path is a .*; give a str"):
        write(path, b"")


def test_an_error_about_another_file_is_passed_on(tmp_path):
    target, source = tmp_path / "file", tmp_path / "source"
    with pytest.raises(FileNotFoundError, match="source"), write_atomically(target):
        source.read_bytes()
    assert os.listdir(tmp_path) == []


@pytest.mark.skipif(os.name != "posix", reason="limits of POSIX")
def test_a_file_that_may_not_grow_leaves_the_old_one(tmp_path):
    script = """
        import resource, sys
        from mmfusion._atomic import write_atomically

        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
        try:
            with write_atomically(sys.argv[1]) as file:
                file.write(bytes(999))
                file.write(bytes(10**6))
        except OSError as error:
            print(error)
    """
    path = tmp_path / "file"
    path.write_bytes(b"old")
    command = [sys.executable, "-c", textwrap.dedent(script), str(path)]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert f"cannot write {str(path)!r}: the file is larger than" in result.stdout
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["file"]


def test_a_full_disk_leaves_the_old_file(small_disk):
    path = small_disk / "file"
    write(path, b"old")
    with pytest.raises(OSError, match=r"file'.*: the disk is full; free") as caught:
        write(path, os.urandom(400_000))
    assert caught.value.errno == errno.ENOSPC
    assert path.read_bytes() == b"old"
    assert os.listdir(small_disk) == ["file"]
    write(path, b"new")
    assert path.read_bytes() == b"new"
