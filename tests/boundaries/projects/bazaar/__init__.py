"""A small modular monolith with one planted violation, at least, of every rule: `# violates: …` marks the line."""
