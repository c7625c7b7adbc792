"""One module a library. They import it lazily, so that a worker holds its own library and nothing else."""
