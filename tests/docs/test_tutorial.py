"""What the tutorial asks people to do in two terminals."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.docs.pages import DOCS, ROOT, blocks

SEND = 'from hello import *; mail.sync.enqueue(Greet(name="again"))'


def test_the_readme_and_the_tutorial_begin_with_the_same_file() -> None:
    readme = next(block.text for block in blocks(ROOT / "README.md") if block.language == "python")
    tutorial = next(block.text for block in blocks(DOCS / "quick-start.md") if block.title == "hello.py")
    assert readme == tutorial


def test_a_worker_in_one_terminal_runs_what_is_sent_from_another(tmp_path: Path) -> None:
    page = DOCS / "quick-start.md"
    assert any(SEND in block.text for block in blocks(page)), "the page says something else now"
    hello = next(block.text for block in blocks(page) if block.title == "hello.py")
    (tmp_path / "hello.py").write_text(hello)
    here = {
        "HOME": str(tmp_path),
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTHONUNBUFFERED": "1",
    }
    with terminal(["remit", "worker", "hello:app"], tmp_path, here) as worker:
        assert worker.stderr is not None
        assert worker.stdout is not None
        assert any(line.rstrip().endswith("is ready") for line in worker.stderr)
        subprocess.run([sys.executable, "-c", SEND], cwd=tmp_path, env=here, check=True, timeout=30)
        assert worker.stdout.readline() == "Hello, again!\n"
        worker.send_signal(signal.SIGINT)
        assert worker.wait(30) == 0


@contextmanager
def terminal(command: list[str], folder: Path, environment: dict[str, str]) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()
