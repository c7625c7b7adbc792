"""A worker process of a load: `python -m tests.liveness.fleet_main URL TRACE QUEUE…`."""

import asyncio
import sys

from tests.liveness.fleet import serve

if __name__ == "__main__":
    url, trace, *queues = sys.argv[1:]
    asyncio.run(serve(url, trace, queues))
