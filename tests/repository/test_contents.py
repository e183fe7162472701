"""What is under version control: no secret, no registry, nothing that the documents do not know."""

from __future__ import annotations

import base64
import io
import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog
from cryptography.hazmat.primitives import serialization

from broker import telemetry
from broker.gateway.settings import load_settings as load_gateway_settings
from broker.hub.settings import load_settings as load_hub_settings
from tests.support.errors_table import section_of, table

ROOT = Path(__file__).resolve().parents[2]
SETTINGS = ROOT / "deploy" / "settings"


def tracked() -> Iterator[tuple[str, bytes]]:
    """Each file under version control, or that would be after `git add`."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    ).stdout
    for name in filter(None, listed.decode().split("\0")):
        path = ROOT / name
        if path.is_file() and not path.is_symlink():
            yield name, path.read_bytes()


def is_private_pem(data: bytes) -> bool:
    blocks = re.findall(rb"-----BEGIN ([A-Z ]*)PRIVATE KEY-----.+?-----END", data, re.DOTALL)
    return bool(blocks)


def is_private_der(data: bytes) -> bool:
    if not data.startswith(b"\x30"):
        return False
    try:
        serialization.load_der_private_key(data, None)
    except (ValueError, TypeError):
        return False
    return True


def private_jwks(data: bytes) -> list[str]:
    """Names of `d` or `priv` members with key-sized values beside a `kty`, anywhere in the JSON."""
    try:
        queue = [json.loads(data)]
    except ValueError:
        return []
    found = []
    while queue:
        value = queue.pop()
        if isinstance(value, dict):
            if "kty" in value:
                found += [name for name in ("d", "priv", "k") if is_key_sized(value.get(name))]
            queue += value.values()
        elif isinstance(value, list):
            queue += value
    return found


def is_key_sized(value: object) -> bool:
    if not isinstance(value, str):
        return False
    try:
        return len(base64.urlsafe_b64decode(value + "=" * (-len(value) % 4))) >= 16
    except ValueError:
        return False


def test_no_key_material_is_under_version_control() -> None:
    # Known answers need known keys; those in tests/vectors say so in their own text.
    guilty = [
        name
        for name, data in tracked()
        if not name.startswith("tests/vectors/")
        and (is_private_pem(data) or is_private_der(data) or private_jwks(data))
    ]
    assert guilty == []


def test_the_search_for_keys_would_find_one() -> None:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    key = Ed25519PrivateKey.generate()
    none = serialization.NoEncryption()
    pkcs8 = serialization.PrivateFormat.PKCS8
    assert is_private_pem(key.private_bytes(serialization.Encoding.PEM, pkcs8, none))
    assert is_private_der(key.private_bytes(serialization.Encoding.DER, pkcs8, none))
    secret = base64.urlsafe_b64encode(key.private_bytes_raw()).rstrip(b"=").decode()
    assert private_jwks(json.dumps([{"keys": {"kty": "OKP", "d": secret}}]).encode()) == ["d"]


def test_no_file_names_a_package_registry() -> None:
    registries = re.compile(
        rb"https?://[^\s\"']*("
        + rb"pypi\.|pythonhosted|registry\.np"
        + rb"m|npmjs|artifactory|nexus)"
    )
    options = re.compile(rb"^\s*(--index-url|--extra-index-url|--find-links|-i )", re.MULTILINE)
    guilty = [
        name
        for name, data in tracked()
        if registries.search(data) or (name.endswith((".lock", ".txt")) and options.search(data))
    ]
    assert guilty == []


def test_every_requirement_is_pinned_with_a_hash() -> None:
    text = (ROOT / "requirements.lock").read_text().replace("\\\n", " ")
    requirements = [line for line in text.splitlines() if re.match(r"[a-z0-9]", line)]
    assert len(requirements) > 50
    assert [line for line in requirements if "==" not in line or "--hash=sha256:" not in line] == []


@pytest.mark.parametrize("name", ["hub.toml", "hub.full.toml"])
def test_the_hub_samples_are_valid_settings(name: str) -> None:
    assert load_hub_settings(SETTINGS / name).hub == "hub.main"


@pytest.mark.parametrize("name", ["gateway.toml", "gateway.full.toml"])
def test_the_gateway_samples_are_valid_settings(name: str) -> None:
    assert load_gateway_settings(SETTINGS / name).participant in {"it.nrm", "al.nrm"}


def test_the_full_samples_name_every_setting() -> None:
    hub = load_hub_settings(SETTINGS / "hub.full.toml")
    gateway = load_gateway_settings(SETTINGS / "gateway.full.toml")
    unnamed = []
    for settings in (hub, gateway):
        queue = [(type(settings).__module__, settings)]
        while queue:
            where, model = queue.pop()
            unnamed += [
                f"{where}: {name}"
                for name in type(model).model_fields.keys() - model.model_fields_set
            ]
            values = [getattr(model, name) for name in type(model).model_fields]
            queue += [(where, value) for value in values if hasattr(value, "model_fields_set")]
    assert unnamed == []


def test_the_protocol_lists_every_error_code_as_the_code_has_it() -> None:
    document = (ROOT / "docs" / "protocol.md").read_text()
    assert section_of(document) == table(), "python -m tests.support.errors_table writes it"


def test_nothing_but_listed_fields_reaches_a_log(monkeypatch: pytest.MonkeyPatch) -> None:
    canary = "Canary Person, born 1999"
    written = io.StringIO()
    monkeypatch.setattr("sys.stderr", written)
    before = structlog.get_config()
    telemetry.configure_logging("test")
    try:
        log = telemetry.logger()
        log.info("envelope:accepted", message_id="m-1", name=canary, body={"name": canary})
        try:
            held = canary
            raise ValueError(f"no case for {held}")
        except ValueError as error:
            log.error("http:bug", route="/v1/messages", exc_info=error)
        import logging

        logging.getLogger("uvicorn.error").warning("request for %s", canary)
    finally:
        structlog.configure(**before)
        structlog.contextvars.clear_contextvars()
        import logging

        logging.root.handlers = []
    lines = [json.loads(line) for line in written.getvalue().splitlines()]
    assert len(lines) == 3
    assert "Canary" not in written.getvalue()
    assert lines[0]["dropped_keys"] == ["body", "name"]
    assert lines[1]["error"] == "ValueError"
    allowed = telemetry.ALLOWED | {"dropped_keys"}
    assert {key for line in lines for key in line} <= allowed


def test_the_list_of_log_fields_has_no_word_for_a_person() -> None:
    personal = re.compile(
        r"name|birth|address|phone|mail|text|detail|body|content|person|subject|case"
    )
    assert {field for field in telemetry.ALLOWED if personal.search(field)} == set()


def test_every_logged_field_is_on_the_list() -> None:
    """A field that is not listed is dropped in production, where it would be missed."""
    calls = re.compile(r"logger\(\)\.(?:debug|info|warning|error)\((.*?)\)\n", re.DOTALL)
    unknown = []
    for path in sorted((ROOT / "broker").rglob("*.py")):
        for call in calls.findall(path.read_text()):
            names = re.findall(r"[(,]\s*([a-z_]+)=(?!=)", "," + call)
            unknown += [
                f"{path.relative_to(ROOT)}: {name}"
                for name in names
                if name not in telemetry.ALLOWED | {"exc_info", "key", "default"}
            ]
    assert unknown == []


def test_nothing_is_left_to_do_later() -> None:
    marks = re.compile(rb"\b(TO" + rb"DO|FIX" + rb"ME|XX" + rb"X)\b")
    guilty = [name for name, data in tracked() if name.endswith(".py") and marks.search(data)]
    assert guilty == []
