"""`referral agreement draft`: terms to start from are terms that can be signed."""

from __future__ import annotations

from pathlib import Path

from click.testing import CliRunner

from broker.cli.root import referral
from schemas.agreement import Agreement


def draft(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(referral, ["agreement", "draft", *arguments])
    return result.exit_code, result.output


def test_a_corridor_gives_terms_that_an_agreement_can_be_made_of(tmp_path: Path) -> None:
    out = tmp_path / "terms.json"
    code, _ = draft(
        "--corridor",
        "tact",
        "--from",
        "it.nrm",
        "--to",
        "al.nrm",
        "--days",
        "30",
        "--out",
        str(out),
    )

    terms = Agreement.from_json(out.read_bytes())

    assert code == 0
    assert terms.parties == ("it.nrm", "al.nrm")
    assert (terms.valid_until - terms.valid_from).days == 30
    assert {item.sender for item in terms.transfer} == {"it.nrm", "al.nrm"}
    assert Agreement.from_json(draft("--corridor", "tact", "--from", "it.nrm", "--to", "al.nrm")[1])


def test_no_terms_for_countries_that_the_corridor_does_not_join_or_for_none() -> None:
    assert draft("--corridor", "tact", "--from", "it.nrm", "--to", "bd.nrm")[0] == 1
    assert draft("--corridor", "nowhere", "--from", "it.nrm", "--to", "al.nrm")[0] == 4
