"""Why the demo cannot go on, for a person."""


class Refusal(Exception):
    """Something that the person who started the demo can mend; the text says what."""
