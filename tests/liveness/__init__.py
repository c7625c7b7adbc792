"""No ready job waits while its queue has a free slot."""
