"""Print time and peak memory of a long sequence, a row a process: `python -m benchmarks.memory T [EVERY]`."""

import resource
import sys
import time

import torch

import rnnlab

B, I, H, PASSES = 32, 8, 128, 3


def main() -> None:
    """Run an LSTM forward and back, and print a row of the table."""
    T, every = int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else None
    net, x, seconds = rnnlab.LSTM(I, H), torch.randn(T, B, I), 0.0
    net.checkpoint_every = every
    for _ in range(PASSES):
        began = time.perf_counter()
        net(x)[0][-1].sum().backward()
        seconds = time.perf_counter() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6  # kilobytes on Linux
    print(f"| {T:,} | {every or 'none'} | {seconds / T * 1e6:.0f} | {peak:.2f} GB |")


if __name__ == "__main__":
    main()
