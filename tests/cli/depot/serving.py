"""What a worker process is started with: `depot.serving:app`."""

from depot.messages import depot

from remit import Remit

app = Remit(domains=[depot])
