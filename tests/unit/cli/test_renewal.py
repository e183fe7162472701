"""A hub's own key is replaced in time by the same command as a participant's."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from broker.cli.commands.trust.keys import renew
from broker.cli.homes.hub import NewHub
from keys.custody import new_custody, open_custody
from keys.rotation import warnings
from tests.support.ceremony import QUICK
from tests.support.parties import NOW


def test_a_hub_signs_with_its_successor_once_that_is_in_force(tmp_path: Path) -> None:
    uri, day = f"file:{tmp_path / 'keys.json'}", timedelta(days=1)
    first = new_custody(
        uri, b"invented", compartments=(), suites=(1,), secrets={"log": b"x"}, now=NOW, cost=QUICK
    )
    hub = NewHub(tmp_path, "hub.main", "http://127.0.0.1:1", 1, first, "log+0+x")
    entry, custody = hub.entry("A hub", "CH"), open_custody(uri, b"invented")
    assert not renew(custody, entry, NOW + 300 * day)[0]
    soon = NOW + 340 * day
    assert warnings(entry.keys, soon)
    _, made, renewed = renew(custody, entry, soon)
    assert [key.kid for key in renewed.keys] == [first[0].kid, made[0].kid]
    assert not warnings(renewed.keys, soon)
    assert custody.signer_for(1, soon, renewed).kid == first[0].kid
    assert custody.signer_for(1, NOW + 366 * day, renewed).kid == made[0].kid
    assert custody.secret("log") == b"x"
    # Run again before it is published, it offers the same one.
    assert [key.kid for key in renew(custody, entry, soon + day)[1]] == [made[0].kid]
