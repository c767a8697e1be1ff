"""What several modules of tests of the runtime begin with."""

from collections.abc import Iterator

import pytest
from tunnel_ends import Way, certificate_in, opened

from rllib.core.cluster.credentials import Tls


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Tls | None:
    """None where there is no openssl to make one."""
    return certificate_in(tmp_path_factory.mktemp("tls"))


@pytest.fixture(params=["plain", "tls"])
def way(request: pytest.FixtureRequest, certificate: Tls | None) -> Iterator[Way]:
    """A tunnel's, with as many side wires as the module's ``NUM_SIDES`` says."""
    with opened(request.param, certificate, getattr(request.module, "NUM_SIDES", 0)) as made:
        yield made
