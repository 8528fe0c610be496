import pytest
import torch


@pytest.fixture(autouse=True, scope="session")
def _one_thread():
    """The networks here are small, and tests may share the machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
