"""Analytics: what the figures say."""
