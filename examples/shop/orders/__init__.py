"""Orders: placed, and then paid and sent by others."""
