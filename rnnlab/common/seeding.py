"""Random streams: one for each purpose, derived from the run's seed by name."""

import hashlib

import torch


def derive_seed(seed: int, *names: str | int) -> int:
    """Derive an independent seed.

    Args:
        seed: the run's seed.
        names: what the stream is for, such as `"train"`; different names never share a stream.

    Returns:
        63 bits of a hash, so that neighbouring seeds give unrelated streams.
    """
    text = "/".join(str(part) for part in (seed, *names))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def make_generator(seed: int, *names: str | int) -> torch.Generator:
    """A fresh generator of the derived stream, on the CPU."""
    return torch.Generator().manual_seed(derive_seed(seed, *names))
