"""Jobs: their life (states, pure), what the store holds of them (model), and what can be done to them (operations)."""
