"""Mail: what customers and the office are told."""
