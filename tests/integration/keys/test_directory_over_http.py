"""The directory over HTTP, as gateways fetch it from a hub."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from keys.trust import DirectoryClient
from schemas.errors import DirectoryRefused, HubUnreachable
from tests.support.ceremony import World, make_world
from tests.support.parties import NOW, make_party


class Quiet(SimpleHTTPRequestHandler):
    """Serves files and says nothing; 503 for everything while `down`."""

    down = False

    def do_GET(self) -> None:
        if Quiet.down:
            self.send_error(503)
        else:
            super().do_GET()

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def world(tmp_path: Path) -> World:
    return make_world(tmp_path, make_party("it.nrm"), make_party("al.nrm"), make_party("al.ngo"))


@pytest.fixture
def url(world: World) -> Iterator[str]:
    Quiet.down = False
    handler = partial(Quiet, directory=str(world.repository.path))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_a_gateway_follows_the_directory_over_http(world: World, url: str, tmp_path: Path) -> None:
    client = DirectoryClient(url, tmp_path / "over-http", world.first_root)
    directory = client.refresh(NOW)
    assert set(directory.participants) == {"it.nrm", "al.nrm", "al.ngo"}
    assert directory == world.reader().refresh(NOW)
    world.repository.publish_participants(
        [], remove=["al.ngo"], country_signers=world.countries["al"], online=world.online, now=NOW
    )
    assert set(client.refresh(NOW).participants) == {"it.nrm", "al.nrm"}


def test_a_hub_that_is_down_or_gone_is_unreachable_and_not_suspect(
    world: World, url: str, tmp_path: Path
) -> None:
    client = DirectoryClient(url, tmp_path / "over-http", world.first_root)
    before = client.refresh(NOW)
    Quiet.down = True
    with pytest.raises(HubUnreachable):
        client.refresh(NOW)
    gone = DirectoryClient("http://127.0.0.1:1", tmp_path / "over-http", world.first_root)
    with pytest.raises(HubUnreachable):
        gone.refresh(NOW)
    assert gone.cached(NOW).participants == before.participants


def test_one_entry_that_was_changed_on_the_way_refuses_the_whole(
    world: World, url: str, tmp_path: Path
) -> None:
    for file in (world.repository.path / "targets" / "it").iterdir():
        file.write_bytes(file.read_bytes().replace(b"Invented", b"Inventad"))
    with pytest.raises(DirectoryRefused, match="directory-mismatch"):
        DirectoryClient(url, tmp_path / "over-http", world.first_root).refresh(NOW)


def test_a_countrys_role_that_was_changed_on_the_way_refuses_the_whole(
    world: World, url: str, tmp_path: Path
) -> None:
    for file in (world.repository.path / "metadata").glob("*.it.json"):
        file.write_bytes(file.read_bytes().replace(b"it/nrm.json", b"it/mrn.json"))
    with pytest.raises(DirectoryRefused):
        DirectoryClient(url, tmp_path / "over-http", world.first_root).refresh(NOW)


def test_metadata_that_was_changed_on_the_way_is_refused(
    world: World, url: str, tmp_path: Path
) -> None:
    file = world.repository.path / "metadata" / "timestamp.json"
    file.write_bytes(file.read_bytes().replace(b'"version": 7', b'"version": 9'))
    for old, new in ((b'"version":7', b'"version":9'), (b"2026-11-29", b"2027-11-29")):
        file.write_bytes(file.read_bytes().replace(old, new))
    with pytest.raises(DirectoryRefused):
        DirectoryClient(url, tmp_path / "over-http", world.first_root).refresh(NOW)
