"""Networks for the tests of the core."""

import networks
import pytest


@pytest.fixture(params=["transformer", "convolution"])
def kind_of_network(request):
    return request.param


@pytest.fixture
def case(kind_of_network):
    """A function (seed, dtype) -> (network, pairs) for each kind of network."""
    return getattr(networks, f"{kind_of_network}_case")


@pytest.fixture
def mixed(kind_of_network):
    """A function step -> gamma with which both kinds of step occur."""
    return lambda step: networks.MIXED[kind_of_network, step]
