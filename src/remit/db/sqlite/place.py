"""Where a SQLite file lies: on a local disk, under one name.

On a network file system its locks cannot be trusted. SQLite keeps its log, and remit its sidecar, beside the file by
its name: under two names there would be two of each, and each side would take the other's workers for dead.
"""

from __future__ import annotations

import atexit
import os
import re
import shutil
import stat
import tempfile
from pathlib import Path

from remit.errors import ConfigurationError

_NETWORK = frozenset({"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "afs", "ceph", "glusterfs", "fuse.sshfs", "lustre"})
_DRIVE = re.compile(r"[A-Za-z]:[\\/]|\\\\")
_OCTAL = re.compile(r"\\([0-7]{3})")


def local_path(place: str) -> Path:
    """The real path of the file that a URL names, after its `sqlite://`; symbolic links are followed.

    Raises `ConfigurationError` for a file that is no local one, or that has several names.
    """
    if place in ("", "/", "/:memory:"):
        return _throwaway()
    if not place.startswith("/"):
        raise ConfigurationError(
            f"sqlite://{place} has two slashes: write sqlite:///{place} for a file here, "
            "or sqlite:////path for an absolute one"
        )
    if "\0" in place or _DRIVE.match(place[1:]):
        raise ConfigurationError(f"{place[1:]!r} names no file of this system: write sqlite:////path/to/file.db")
    path = Path(os.path.realpath(place[1:]))
    _refuse_second_name(path)
    kind = file_system(path)
    if kind in _NETWORK:
        raise ConfigurationError(
            f"{path} lies on a network file system ({kind}), where SQLite's locks cannot be trusted: "
            "use a local disk, or PostgreSQL for several machines"
        )
    return path


def _refuse_second_name(path: Path) -> None:
    try:
        status = path.stat()
    except OSError:
        return  # there is none yet; what else is in the way, connecting says
    if stat.S_ISREG(status.st_mode) and status.st_nlink > 1:
        raise ConfigurationError(
            f"{path} has {status.st_nlink} names (hard links). SQLite keeps a log of its own beside each, which "
            "destroys the database: keep one name, and let symbolic links point to it"
        )
    if stat.S_ISREG(status.st_mode) and any(point == str(path) for point, _ in _mounts()):
        raise ConfigurationError(
            f"{path} is mounted as a single file, and SQLite's log beside it would not be shared: mount its folder"
        )


def obstacle(path: Path) -> str | None:
    """Say why no file can be opened or made there, and what to do, or None where nothing is seen."""
    folder = path.parent
    if not os.access(folder, os.F_OK):
        return f"the folder {folder} does not exist, or cannot be reached; create it, or correct the URL"
    if not folder.is_dir():
        return f"{folder} is a file; correct the URL"
    if not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
        return f"there is no permission to write in the folder {folder}, where SQLite keeps its log; grant it"
    if path.is_dir():
        return "it is a directory; name a file in it"
    if path.exists() and not os.access(path, os.R_OK | os.W_OK):
        return "there is no permission to read and write it; grant it"
    return None


def _throwaway() -> Path:
    """A real file in memory where the system has such a place, removed when the process ends."""
    memory = Path("/dev/shm")
    folder = tempfile.mkdtemp(prefix="remit-", dir=memory if memory.is_dir() else None)
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Path(folder) / "remit.db"


def file_system(path: Path) -> str | None:
    """The type of the file system that holds a path, as Linux names it; None where it cannot be told."""
    best, kind = "", None
    for point, name in _mounts():
        inside = str(path) == point or str(path).startswith(point.rstrip("/") + "/")
        if inside and len(point) >= len(best):  # the later one of two lies on top
            best, kind = point, name
    return kind


def _mounts() -> list[tuple[str, str]]:
    """Every mount point with the type of its file system; none where the system does not list them."""
    try:
        lines = Path("/proc/self/mounts").read_text().splitlines()
    except OSError:
        return []
    fields = (line.split(" ") for line in lines)
    return [(_OCTAL.sub(lambda code: chr(int(code[1], 8)), point), kind) for _, point, kind, *_ in fields]
