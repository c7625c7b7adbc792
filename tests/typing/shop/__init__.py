"""What users write, right and wrong: each checker must report every line that ends in `# E`, and no other."""
