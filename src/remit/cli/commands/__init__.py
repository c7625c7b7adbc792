"""The commands, a noun or a verb each."""
