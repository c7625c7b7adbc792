"""Background jobs, domain events and durable workflows, in the database the application already has."""

__version__ = "0.1.0"
