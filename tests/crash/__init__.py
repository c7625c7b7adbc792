"""The process dies at a call to the store: at each of them, before it and after its commit."""
