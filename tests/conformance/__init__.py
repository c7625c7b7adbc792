"""What every store promises, in both calling styles."""
