"""A file is written whole or not at all."""

import stat
from pathlib import Path

import pytest

from tests.networks import CASES
from trispike.network import save, storage
from trispike.network.files import whole_file, whole_folder


def test_the_file_appears_when_the_block_is_done(tmp_path):
    path = tmp_path / "net"
    with whole_file(path) as temporary:
        temporary.write_bytes(b"new")
        assert not path.exists()
        assert temporary.parent == path.parent  # one file system, so that the rename is atomic
    assert path.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [path]


def test_an_older_file_is_replaced(tmp_path):
    path = tmp_path / "net"
    path.write_bytes(b"a longer old content")
    with whole_file(path) as temporary:
        temporary.write_bytes(b"new")
        assert path.read_bytes() == b"a longer old content"
    assert path.read_bytes() == b"new"


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, SystemExit])
def test_after_an_exception_everything_is_as_before(tmp_path, error):
    path = tmp_path / "net"
    path.write_bytes(b"old")

    def interrupted() -> None:
        with whole_file(path) as temporary:
            temporary.write_bytes(b"half of it")
            raise error

    with pytest.raises(error):
        interrupted()
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_has_the_permissions_of_any_other(tmp_path):
    plain, whole = tmp_path / "plain", tmp_path / "whole"
    plain.touch()
    with whole_file(whole) as temporary:
        assert stat.S_IMODE(temporary.stat().st_mode) == 0o600
    assert whole.stat().st_mode == plain.stat().st_mode


def test_a_missing_folder_is_told(tmp_path):
    with pytest.raises(FileNotFoundError), whole_file(tmp_path / "missing" / "net"):
        pytest.fail("the block must not run")


def test_strings_are_paths(tmp_path):
    with whole_file(str(tmp_path / "net")) as temporary:
        assert isinstance(temporary, Path)
    assert (tmp_path / "net").exists()


def test_a_network_that_cannot_be_written_leaves_no_file(tmp_path, monkeypatch):
    def fails(arrays: object, path: Path, metadata: object) -> None:
        path.write_bytes(b"half of it")
        raise OSError("disk full")

    monkeypatch.setattr(storage, "save_file", fails)
    with pytest.raises(OSError, match="disk full"):
        save(CASES["vectors"](), tmp_path / "net")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_appears_when_the_block_is_done(tmp_path):
    path = tmp_path / "export"
    for _ in range(2):
        with whole_folder(path) as temporary:
            (temporary / "a").write_bytes(b"new")
            assert not (path / "a").exists()
        assert (path / "a").read_bytes() == b"new"
        assert not list(tmp_path.glob(".*"))
        plain = tmp_path / "plain"
        plain.mkdir(exist_ok=True)
        assert stat.S_IMODE(path.stat().st_mode) == stat.S_IMODE(plain.stat().st_mode)
        path = plain  # the second time it is there, and empty


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_after_an_exception_there_is_no_folder(tmp_path, error):
    def interrupted() -> None:
        with whole_folder(tmp_path / "export") as temporary:
            (temporary / "a").write_bytes(b"half of it")
            raise error

    with pytest.raises(error):
        interrupted()
    assert not list(tmp_path.iterdir())


def test_a_folder_with_something_in_it_is_left_alone(tmp_path):
    (tmp_path / "export").mkdir()
    (tmp_path / "export" / "mine").write_bytes(b"old")
    with pytest.raises(OSError, match="not empty"), whole_folder(tmp_path / "export"):
        pass
    assert [p.name for p in tmp_path.rglob("*")] == ["export", "mine"]
