"""Where a SQLite file lies: a local disk. On a network file system its locks cannot be trusted, so it is refused."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from pathlib import Path

from remit.errors import ConfigurationError

_NETWORK = frozenset({"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "afs", "ceph", "glusterfs", "fuse.sshfs", "lustre"})


def local_path(place: str) -> Path:
    """The file that a URL names, after its `sqlite://`."""
    if place in ("", "/", "/:memory:"):
        return _throwaway()
    if not place.startswith("/"):
        raise ConfigurationError(
            f"sqlite://{place} has two slashes: write sqlite:///{place} for a file here, "
            "or sqlite:////path for an absolute one"
        )
    path = Path(place[1:]).absolute()
    kind = file_system(path)
    if kind in _NETWORK:
        raise ConfigurationError(
            f"{path} lies on a network file system ({kind}), where SQLite's locks cannot be trusted: "
            "use a local disk, or PostgreSQL for several machines"
        )
    return path


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
    try:
        mounts = Path("/proc/self/mounts").read_text().splitlines()
    except OSError:
        return None
    best, kind = "", None
    for mount in mounts:
        _, point, name, *_ = mount.split(" ")
        point = point.replace("\\040", " ")
        inside = str(path) == point or str(path).startswith(point.rstrip("/") + "/")
        if inside and len(point) > len(best):
            best, kind = point, name
    return kind
