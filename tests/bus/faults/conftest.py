"""Every fault is tried over every datapath that is real."""

import pytest

from ..conftest import NEEDS_NATIVE


@pytest.fixture(params=["reference", pytest.param("native", marks=NEEDS_NATIVE)])
def datapath(request: pytest.FixtureRequest) -> str:
    return str(request.param)
