"""The execution of jobs: the statements of workers, which join jobs, events and workers."""
