"""What only the demo needs: customers, a mail server, a warehouse, an accident, and an audit from outside."""
