"""What a compiled step cannot do."""


class Inexpressible(Exception):
    """A step contains something that cannot be compiled; the message names it."""


def in_words(operation: object) -> str:
    """An operation of torch as its user calls it: `aten._softmax.default` is softmax."""
    return str(operation).removeprefix("aten.").split(".")[0].strip("_")
