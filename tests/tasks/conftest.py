import pytest

from rnnlab.common.errors import UserError
from rnnlab.tasks.mnist import Mnist


@pytest.fixture(scope="session")
def mnist_files() -> None:
    """Skip a test that needs MNIST where it can be neither found nor downloaded."""
    try:
        Mnist.images("test")
    except UserError as error:
        pytest.skip(str(error))
