"""Files that are there whole, or not at all."""

import os
import tempfile
from pathlib import Path


def replace_file(path: Path, content: str) -> None:
    """Write a file under another name and rename it: a second run replaces it, a reader never sees half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile("w", encoding="utf-8", dir=path.parent, prefix=".", delete=False) as draft:
        draft.write(content)
        draft.flush()
        os.fsync(draft.fileno())
    Path(draft.name).replace(path)
