"""Reports: what the figures of a day say."""
