"""Orders: placed, paid, invoiced, and on their way to the warehouse."""
