"""The API keeps to its own OpenAPI document, whatever it is asked: generated requests."""

from collections.abc import Iterator
from typing import Any, Final

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.specs.openapi.checks import positive_data_acceptance
from sqlalchemy import create_engine
from tests.registry_world import NOW, World

from penstock_registry.api.app import create_app
from penstock_registry.store.store import Store

THIS_MACHINE: Final = {"Host": "localhost"}

# What is asked in which order makes no difference: nothing can be changed.
SHORT = settings(
    max_examples=8,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    phases=(Phase.explicit, Phase.generate),
)
LONG = settings(SHORT, max_examples=500)

ENDLESS = "/api/v1/events"
OPERATIONS = [
    (path, method)
    for path, methods in create_app(create_engine("sqlite://"), token=None, loopback=True)
    .openapi()["paths"]
    .items()
    for method in methods
    if path != ENDLESS
]


@pytest.fixture(scope="module")
def api(tmp_path_factory) -> Iterator[schemathesis.schemas.BaseSchema]:
    """A registry that knows something of everything."""
    with Store(f"sqlite:///{tmp_path_factory.mktemp('contract')}/registry.db", clock=lambda: NOW) as store:
        store.migrate()
        world = World()
        world.delivered("a.tif", world.uploaded("a.tif"))
        world.rejected("caf\udce9", world.uploaded("caf\udce9"), "digest")
        world.failed("b.tif", "unreadable")
        world.uploading("c.tif", 10)
        world.lost(1, 2)
        world.heartbeat("microscope")
        world.happen(store)
        app = create_app(store.engine, token=None, loopback=True, clock=lambda: NOW)
        yield schemathesis.openapi.from_asgi("/api/v1/openapi.json", app, headers=THIS_MACHINE)


def ask(operation: Any, how: settings) -> None:
    # What each parameter may be says not which cursors there are, nor how much of the time can be drawn: so
    # the documented 400 may also be the answer where all of them are valid.
    @how
    @given(case=operation.as_strategy())
    def keeps_to_the_document(case: schemathesis.Case) -> None:
        case.call_and_validate(headers=THIS_MACHINE, excluded_checks=[positive_data_acceptance])

    keeps_to_the_document()


@pytest.mark.parametrize(("path", "method"), OPERATIONS)
def test_every_answer_is_as_documented(api, path, method):
    ask(api[path][method], SHORT)


@pytest.mark.long
@pytest.mark.parametrize(("path", "method"), OPERATIONS)
def test_every_answer_is_as_documented_whatever_is_asked(api, path, method):
    ask(api[path][method], LONG)
