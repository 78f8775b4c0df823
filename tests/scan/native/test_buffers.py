"""Where memory runs out in a kernel, the call fails with an error that can be caught, and the next one works."""

import subprocess
import sys

import pytest

from rnnlab.scan.native.build import has_compiler

pytestmark = pytest.mark.skipif(not has_compiler(), reason="needs a C++ compiler")

CODE = """
import copy, os, resource, torch, rnnlab
from pathlib import Path

threads = 1 if os.fork() else 2  # one process each, neither of which has touched any memory
torch.set_num_threads(threads)
torch.manual_seed(0)


def say(what):
    os.write(1, f"{threads} {what}\\n".encode())  # a line at once: the other process writes there too


theirs, small, x = torch.nn.LSTM(8, 512), rnnlab.LSTM(8, 8), torch.randn(20, 4, 8)
layer = rnnlab.convert(copy.deepcopy(theirs))
small(torch.randn(300, 64, 8))[0].sum().backward()  # the library is loaded and its threads are there
for room in range(0, 200, 2):  # some leave too little to the way forward, some to the way back
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + room * 2**20, -1))
    try:
        y = layer(x)[0]
        say("forward")
        y.sum().backward()
        break
    except (MemoryError, RuntimeError) as error:  # torch and numpy say it in words of their own
        say(error)
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (-1, -1))
torch.testing.assert_close(y, theirs(x)[0])
if threads == 1:
    assert os.wait()[1] == 0
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="needs a limit on memory that holds")
def test_memory_that_is_not_there_raises():
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for threads in "12":
        heard = [line for line in done.stdout.splitlines() if line.startswith(threads)]
        assert any("lstm layer of 512 units and 8 inputs found no memory" in line for line in heard)
        assert heard[-1] == f"{threads} forward", "in the end there was enough"
