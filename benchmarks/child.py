"""A worker in a process of its own: `python -m benchmarks.child MODULE CLASS URL`. Imports its contender alone."""

import sys
from importlib import import_module

if __name__ == "__main__":
    module, name, url = sys.argv[1:]
    getattr(import_module(module), name)(url).work()
