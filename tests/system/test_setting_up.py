"""Everything from nothing, command by command, as an operator does it. Nobody runs yet."""

from __future__ import annotations

from pathlib import Path

from broker.cli.terminal.failures import Exit
from tests.support.processes import command


def test_everything_can_be_set_up_by_hand(tmp_path: Path) -> None:
    """Directory, hub and gateway from nothing, as an operator does it."""
    secret = tmp_path / "passphrase"
    secret.write_text("a long passphrase for tests\n")
    secret.chmod(0o600)
    words = ("--passphrase-file", str(secret))
    roles = {}
    for role in ("root-1", "root-2", "targets", "online", "it"):
        roles[role] = str(tmp_path / f"{role}.json")
        assert command("directory", "key", roles[role], *words).code == Exit.OK
    repository = ("--repository", str(tmp_path / "directory"))
    online = ("--online-key", roles["online"], *words)
    made = command(
        *("directory", "init", *repository, "--root-key", roles["root-1"]),
        *("--root-key", roles["root-2"], "--targets-key", roles["targets"], *online),
    )
    assert made.code == Exit.OK, made.err
    root = str(tmp_path / "directory" / "root.json")
    country = command(
        *("directory", "country", *repository, "--cc", "it", "--country-key", roles["it"]),
        *("--targets-key", roles["targets"], *online),
    )
    assert country.code == Exit.OK, country.err
    hub = command(
        *("hub", "init", str(tmp_path / "hub"), "--url", "http://127.0.0.1:8080"),
        *("--name", "A hub", "--country", "CH", "--root", root),
        *("--directory", str(tmp_path / "directory")),
    )
    assert hub.code == Exit.OK, hub.err
    entry = str(tmp_path / "hub" / "entry.json")
    published = command(
        *("directory", "hub", entry, *repository, "--targets-key", roles["targets"], *online)
    )
    assert published.code == Exit.OK, published.err
    home = tmp_path / "it.nrm"
    gateway = command(
        *("gateway", "init", str(home), "--participant", "it.nrm", "--root", root),
        *("--hub", "http://127.0.0.1:8080", "--directory", str(tmp_path / "directory")),
    )
    assert gateway.code == Exit.OK, gateway.err
    mine = str(tmp_path / "entry.json")
    described = command(
        *("directory", "entry", str(home / "public.json"), "--name", "NRM", "--kind", "state"),
        *("--function", "nrm", "--out", mine),
    )
    assert described.code == Exit.OK, described.err
    out = command("directory", "publish", mine, *repository, "--country-key", roles["it"], *online)
    assert out.code == Exit.OK, out.err
    shown = command("directory", "show", "--home", str(home), "--json")
    assert {one["id"] for one in shown.lines} == {"hub.main", "it.nrm"}
    added = command("gateway", "worker", "add", "ana", "--home", str(home), "--json")
    assert Path(added.json["token_file"]).is_file()
    # Another country's key publishes nothing here.
    wrong = command(
        "directory", "publish", mine, *repository, "--country-key", roles["root-1"], *online
    )
    assert wrong.code == Exit.VERIFICATION


def test_keys_are_shown_to_who_has_the_passphrase(tmp_path: Path) -> None:
    keys = str(tmp_path / "keys.json")
    words = ("--passphrase-file", "-")
    made = command(
        "keys", "new", keys, "--compartment", "casework", *words, stdin="long enough 123\n"
    )
    assert made.code == Exit.OK, made.err
    shown = command("keys", "show", keys, *words, "--json", stdin="long enough 123\n")
    assert [line["use"] for line in shown.lines] == ["sign", "seal"]
    assert '"d"' not in shown.out
    assert '"priv"' not in shown.out
    refused = command("keys", "show", keys, *words, stdin="another passphrase\n")
    assert refused.code == Exit.FAILED
    assert "custody-locked" in refused.err
    assert command("keys", "new", str(tmp_path / "b"), *words, stdin="short\n").code == Exit.USAGE
