"""How many inputs Hypothesis tries, and the service that it calls.

By default each test tries a few inputs, the same in every run. ``FUZZ_EXAMPLES`` asks for that
many, other ones in every run; a failure then prints the seed that repeats it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.configuration import set_hypothesis_home_dir

from tests.conftest import World
from tests.integration.conftest import Running, deploy

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", 50))
# A test that runs models or sends requests is slow on some inputs, and fixtures outlive inputs.
_UNFIT = (HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.function_scoped_fixture)

set_hypothesis_home_dir(Path(__file__).parents[2] / "build" / "hypothesis")
bounded = "FUZZ_EXAMPLES" not in os.environ
settings.register_profile(
    "fuzz",
    max_examples=EXAMPLES,
    derandomize=bounded,
    print_blob=not bounded,
    database=None,
    deadline=None,
    suppress_health_check=_UNFIT,
)
settings.load_profile("fuzz")


@pytest.fixture(scope="session")
def service(
    world: World, redis_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Running]:
    """Serve the world for all tests here."""
    with deploy(world, redis_url, tmp_path_factory.mktemp("fuzzed") / "models").serve() as running:
        yield running
