"""What a worker process is started with: `harbour.serving:app`."""

from harbour.app import make_app

app = make_app()
