"""What a compiled step cannot do."""


class Inexpressible(Exception):
    """A step contains something that cannot be compiled; the message names it."""
