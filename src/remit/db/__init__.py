"""How to run a named statement on a database; knows no job."""
