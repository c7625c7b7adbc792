"""How a store is brought to the present, and what its tables refuse."""
