"""Two registries with one PostgreSQL, as people run them who want the page to be there always."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import expect
from tests.cluster import Kubectl
from tests.e2e.browser import Visit, browser, log_in, photographed, visit
from tests.e2e.evidence import observed
from tests.e2e.forwarding import forwarded
from tests.e2e.installed import SMALL, Penstock, apply, namespaces, removed
from tests.e2e.pods import force_delete, pods_of
from tests.e2e.postgres.server import postgres

__all__ = ["browser", "visit"]

pytestmark = [pytest.mark.cluster, pytest.mark.xdist_group("penstock")]

SECRET = "registry-database"


@pytest.fixture
def two(
    crd: Kubectl,
    penstock: Penstock,
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Penstock]:
    """Another installation beside the same Kafka, with two registries."""
    home = tmp_path_factory.mktemp("helm-two")
    with (
        namespaces(crd, home, penstock.kafka) as here,
        observed(request.config, "two", here.system),
        postgres(here.system) as url,
    ):
        secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": SECRET}}
        apply(here.system, secret | {"stringData": {"url": url}})
        registry = {
            "replicas": 2,
            "kafka": {"bootstrapServers": penstock.kafka.bootstrap_servers},
            "database": {"existingSecret": {"name": SECRET}},
            "resources": SMALL,
        }
        try:
            here.release.install(here.values(registry=registry))
            here.registry.wait_until_ready()
            yield here
        finally:
            removed(here)


def test_the_page_goes_on_when_one_of_two_registries_is_killed(penstock, declare, two, visit: Visit):
    declare("shared").until()
    sent = penstock.desk.write("shared", {"first.tif": 100_000})
    penstock.desk.expect("shared", sent)
    first, second = (pod["metadata"]["name"] for pod in pods_of(two.system, two.registry.name))
    with forwarded(two.system, f"pod/{first}", "http") as url:
        page = visit(f"{url}/")
        with photographed(page, "first registry"):
            log_in(page, two.registry.token)
            expect(page.get_by_role("row", name="shared")).to_contain_text("1 delivered")
        cookies = page.context.cookies()
        page.close()
    with forwarded(two.system, f"pod/{second}", "http") as url:
        page = visit(f"{url}/")
        with photographed(page, "second registry"):
            expect(page.get_by_role("heading", level=1, name="Log in")).to_be_visible(timeout=60_000)
            # Whoever has logged in at one is known to the other: their Service sends people to either.
            page.context.add_cookies(cookies)
            page.reload()
            row = page.get_by_role("row", name="shared")
            expect(row).to_contain_text("1 delivered")
            page.evaluate("window.neverReloaded = true")

            force_delete(two.system, first)
            penstock.desk.write("shared", {"second.tif": 100_000})
            # What the other one was reading is taken over when its session is over.
            expect(row).to_contain_text("2 delivered", timeout=40_000)
            assert page.evaluate("window.neverReloaded")
    two.registry.wait_until_ready()
    assert first not in [pod["metadata"]["name"] for pod in pods_of(two.system, two.registry.name)]
    with two.registry.connected() as api:
        assert {file["path"] for file in api.all("files", stream="shared")} == {"first.tif", "second.tif"}
