"""A delivery is proven by a file alone, and by no file in which anything was changed."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from itertools import count
from pathlib import Path
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broker.audit.log.leaves import new_leaf, opens
from broker.audit.log.note import b64
from broker.audit.proofs.offline import LEAF_LABEL, TrustedKey, read_leaf, thumbprint
from broker.audit.proofs.policy import Policy, parse_policy
from broker.audit.proofs.prover import LogProof, proof_file
from broker.audit.proofs.tlog_proof import parse_proof
from broker.audit.proofs.verify import Asked, Verdict, verify_proof, verify_proof_file
from keys.binding import commitment
from schemas.audit import Event, Leaf
from schemas.base import b64u, unb64u
from tests.support.audit_log import (
    ORIGIN,
    START,
    Author,
    LogKeys,
    MemoryLog,
    leaf_about,
    some_leaf,
    witness,
)

ENVELOPE = UUID("01990000-0000-7000-8000-000000000001")
DIGEST = b64u(bytes(range(32)))
AUTHOR = Author()
EVIDENCE = AUTHOR.evidence(ENVELOPE, DIGEST)
LEAF, OPENING = leaf_about(EVIDENCE)
LOG = MemoryLog()
LOG.grow(300)
LOG.entries[123] = LEAF
HEAD = LOG.head()
POLICY = Policy.of_logs(LOG.keys.vkey, LOG.keys.pq_vkey)
GOOD = proof_file(
    evidence=EVIDENCE,
    opening=OPENING,
    proof=LogProof(123, 300, LEAF, LOG.proof(123, HEAD)),
    directory_version=4,
    keys=[AUTHOR.published],
)


def changed(change: Callable[[dict[str, object]], None]) -> bytes:
    content = json.loads(GOOD)
    change(content)
    return json.dumps(content).encode()


def with_member(name: str, value: object) -> bytes:
    return changed(lambda content: content.update({name: value}))


def failed(verdict: Verdict) -> set[str]:
    return {check.name for check in verdict.checks if not check.passed}


def test_a_good_file_proves_who_stated_what_where_and_up_to_when() -> None:
    verdict = verify_proof(
        GOOD,
        POLICY,
        trusted_keys=AUTHOR.trusted,
        asked=Asked(envelope=str(ENVELOPE), digest=DIGEST, fact="delivered"),
    )
    assert failed(verdict) == set()
    assert verdict.proven
    assert [fact.envelope for fact in verdict.facts] == [str(ENVELOPE)]
    assert (verdict.stated_by, verdict.signed_by) == ("al.nrm", AUTHOR.kid)
    assert (verdict.origin, verdict.index, verdict.log_size) == (ORIGIN, 123, 300)
    assert (verdict.event, verdict.directory_version) == ("evidence:received", 4)
    assert verdict.up_to == verdict.no_later_than == START
    assert verdict.key_from == "directory"
    assert verdict.lines()[-1] == "PROVEN, up to 2026-11-01T08:00:00Z."
    assert json.loads(json.dumps(verdict.to_dict()))["proven"] is True


def test_without_a_directory_the_verdict_says_that_it_believed_the_file() -> None:
    verdict = verify_proof(GOOD, POLICY)
    assert verdict.proven
    assert verdict.key_from == "proof file"
    assert any("proof file's word alone" in line for line in verdict.lines())


def test_a_file_on_disk_is_read_and_a_missing_one_is_an_error_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_bytes(GOOD)
    assert verify_proof_file(tmp_path / "x.json", POLICY).proven
    with pytest.raises(FileNotFoundError):
        verify_proof_file(tmp_path / "y.json", POLICY)


def test_evidence_about_another_envelope_does_not_answer() -> None:
    for asked in (
        Asked(envelope=str(UUID(int=1))),
        Asked(digest=b64u(bytes(32))),
        Asked(fact="read"),
        Asked(envelope=str(ENVELOPE), fact="filed"),
    ):
        verdict = verify_proof(GOOD, POLICY, asked=asked)
        assert failed(verdict) == {"the evidence states what was asked"}


def test_other_evidence_by_the_same_author_is_not_what_the_leaf_is_about() -> None:
    other = AUTHOR.evidence(UUID(int=5), DIGEST).decode()
    verdict = verify_proof(with_member("evidence", other), POLICY, trusted_keys=AUTHOR.trusted)
    assert failed(verdict) == {"the leaf is about this evidence"}
    assert verdict.lines()[-1] == "NOT PROVEN."


def test_an_opening_of_another_leaf_opens_nothing() -> None:
    _, opening = leaf_about(EVIDENCE)
    verdict = verify_proof(with_member("opening", opening.to_dict()), POLICY)
    assert failed(verdict) == {"the leaf is about this evidence"}


def test_a_leaf_made_afterwards_is_not_in_the_log() -> None:
    leaf, opening = leaf_about(EVIDENCE)
    data = changed(lambda content: content.update(leaf=b64u(leaf), opening=opening.to_dict()))
    assert failed(verify_proof(data, POLICY)) == {"the leaf is in the log"}


def test_a_proof_of_another_leaf_does_not_prove_this_one() -> None:
    verdict = verify_proof(with_member("proof", LOG.proof(122)), POLICY)
    assert failed(verdict) == {"the leaf is in the log"}


def test_a_log_that_the_policy_does_not_name_proves_nothing() -> None:
    verdict = verify_proof(GOOD, Policy.of_logs(LogKeys().vkey))
    assert "the checkpoint is signed" in failed(verdict)


def test_evidence_signed_by_a_key_that_is_not_its_authors_is_refused() -> None:
    thief = Author("rs.nrm")
    forged = thief.evidence(ENVELOPE, DIGEST, by="al.nrm")
    leaf, opening = leaf_about(forged)
    log = MemoryLog(LOG.keys)
    log.entries = [leaf]
    data = proof_file(
        evidence=forged,
        opening=opening,
        proof=LogProof(0, 1, leaf, log.proof(0)),
        directory_version=4,
        keys=[thief.published],
    )
    for keys in (None, thief.trusted, AUTHOR.trusted):
        verdict = verify_proof(data, POLICY, trusted_keys=keys)
        assert failed(verdict) == {"the evidence is signed"}


def test_a_key_under_a_false_name_or_for_another_algorithm_is_refused() -> None:
    other = Author()
    false_name = {AUTHOR.kid: TrustedKey("al.nrm", "Ed25519", other.jwk)}
    other_alg = {AUTHOR.kid: TrustedKey("al.nrm", "ES256", AUTHOR.jwk)}
    not_a_key = {AUTHOR.kid: TrustedKey("al.nrm", "Ed25519", {"kty": "oct", "k": "AA"})}
    for keys in (false_name, other_alg, not_a_key, {}):
        assert failed(verify_proof(GOOD, POLICY, trusted_keys=keys)) == {"the evidence is signed"}


@pytest.mark.parametrize(
    "header", [{"alg": "none"}, {"alg": "ES256"}, {"typ": "JWT"}, {"jku": "x"}, {"crit": "x"}]
)
def test_evidence_with_another_header_is_refused(header: dict[str, str]) -> None:
    payload = json.loads(EVIDENCE)["payload"]
    evidence = AUTHOR.sign(unb64u(payload), **header)
    verdict = verify_proof(with_member("evidence", evidence.decode()), POLICY)
    assert "the evidence is signed" in failed(verdict)


def test_a_quorum_of_witnesses_is_counted_by_the_policy() -> None:
    one, two, three = (witness(f"{cc}.example/w") for cc in ("al", "it", "rs"))
    text = HEAD.checkpoint.text
    policy = parse_policy(
        f"log {LOG.keys.vkey}\n"
        f"witness al {one.verifier.to_text()}\n"
        f"witness it {two.verifier.to_text()}\n"
        f"witness rs {three.verifier.to_text()}\n"
        "group two 2 al it rs\n"
        "quorum two\n"
    )
    proof = LOG.proof(123, HEAD)
    with_one = proof + one.sign(text, START).line()
    # Twice the same voice is one voice.
    with_one += one.sign(text, START).line()
    assert failed(verify_proof(with_member("proof", with_one), policy)) >= {
        "the checkpoint is signed"
    }
    with_two = with_one + three.sign(text, START).line()
    verdict = verify_proof(with_member("proof", with_two), policy)
    assert verdict.proven
    assert [seen.name for seen in verdict.seen if seen.is_witness] == [one.name, three.name]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"{}",
        b"\xff",
        b'{"a":NaN}',
        GOOD.replace(b'"leaf"', b'"leaves"'),
        GOOD.replace(b'"leaf"', b'"proof": "", "leaf"'),
        GOOD[:-3],
        GOOD + b" " * 2_000_000,
        with_member("directory_version", True),
        with_member("directory_version", 1.5),
        with_member("more", 1),
        b"[" * 100_000,
    ],
)
def test_what_is_not_a_proof_file_is_said_not_to_be_one(data: bytes) -> None:
    assert failed(verify_proof(data, POLICY)) == {"the file is a proof"}


@pytest.mark.parametrize("name", ["evidence", "leaf", "proof", "opening", "keys"])
@pytest.mark.parametrize("value", [None, 7, "", "{}", [], {}, [7], "AA", {"salt": "", "x": ""}])
def test_a_member_of_another_kind_fails_without_an_exception(name: str, value: object) -> None:
    assert not verify_proof(with_member(name, value), POLICY).proven


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(["evidence", "leaf", "salt", "subject", "proof"]), st.data())
def test_any_bit_flipped_in_what_is_proven_fails(part: str, data: st.DataObject) -> None:
    content = json.loads(GOOD)
    holder = content["opening"] if part in ("salt", "subject") else content
    text = holder[part].encode()
    # Of the checkpoint's signature lines each alone is enough, so those are flipped elsewhere.
    end = text.index("\u2014".encode()) if part == "proof" else len(text)
    bit = data.draw(st.integers(0, end * 8 - 1))
    flipped = bytearray(text)
    flipped[bit // 8] ^= 1 << (bit % 8)
    holder[part] = flipped.decode("latin-1")
    assert not verify_proof(
        json.dumps(content).encode(), POLICY, trusted_keys=AUTHOR.trusted
    ).proven


def test_the_verifier_needs_only_the_standard_library_and_cryptography() -> None:
    code = (
        "import sys; before = set(sys.modules); "  # a system's own sitecustomize, coverage, ...
        "import broker.audit.proofs.verify, broker.audit.bundle.bundle; "
        "print(*sorted({name.partition('.')[0] for name in set(sys.modules) - before}))"
    )
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    foreign = {
        name
        for name in found
        if name not in sys.stdlib_module_names and not name.startswith(("_", "__"))
    }
    assert foreign <= {"broker", "schemas", "cryptography"}


# --- leaves --------------------------------------------------------------------------------


@given(st.sampled_from(Event), st.binary(min_size=32, max_size=32))
def test_a_leaf_reads_the_same_here_and_in_the_verifier(event: Event, subject: bytes) -> None:
    body, opening = new_leaf(event, START.replace(microsecond=345_000), subject)
    ours, theirs = Leaf.from_json(body), read_leaf(body)
    assert (theirs.event, theirs.commitment) == (ours.event.value, ours.commitment)
    assert opens(ours, opening)
    assert not opens(ours, opening.model_copy(update={"salt": bytes(32)}))


def test_the_verifiers_commitment_is_the_protocols() -> None:
    assert LEAF_LABEL == b"referral-broker/1 leaf\n"
    assert read_leaf(LEAF).commitment == commitment(OPENING.salt, OPENING.subject)


def test_two_leaves_about_one_thing_have_nothing_in_common_but_the_event() -> None:
    one, other = (read_leaf(leaf_about(EVIDENCE)[0]) for _ in range(2))
    assert replace(one, commitment=b"") == replace(other, commitment=b"")
    assert one.commitment != other.commitment


def test_the_thumbprint_is_that_of_rfc_8037() -> None:
    # RFC 8037, appendix A.3.
    x = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"
    key = {"crv": "Ed25519", "kty": "OKP", "x": x, "kid": "ignored"}
    assert thumbprint(key) == "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"


# --- policies ------------------------------------------------------------------------------

W1, W2 = (witness(f"{cc}.example/w").verifier.to_text() for cc in ("al", "it"))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "quorum none\nquorum none\n",
        "quorum nobody\n",
        f"log {LOG.keys.vkey}\nlog {LOG.keys.vkey}\nquorum none\n",
        f"witness a {W1}\nwitness b {W1}\nquorum a\n",
        f"witness a {W1}\nwitness a {W2}\nquorum a\n",
        f"witness none {W1}\nquorum none\n",
        f"witness a {LOG.keys.vkey}\nquorum a\n",
        f"witness a {W1}\ngroup g 2 a\nquorum g\n",
        f"witness a {W1}\ngroup g 0 a\nquorum g\n",
        f"witness a {W1}\ngroup g many a\nquorum g\n",
        f"witness a {W1}\ngroup g any\nquorum g\n",
        f"witness a {W1}\ngroup g any a a\nquorum g\n",
        f"witness a {W1}\ngroup g any a\ngroup h any a\nquorum g\n",
        f"group g any a\nwitness a {W1}\nquorum g\n",
        "log x\nquorum none\n",
        "trust everyone\nquorum none\n",
        "quorum none\r\n",
        "quorum none # \x7f\n",
        f"witness a {W1}\ngroup g 01 a\nquorum g\n",
        f"witness a {W1}\ngroup g {'1' * 5000} a\nquorum g\n",
    ],
    ids=count(),
)
def test_a_policy_that_is_not_clear_is_refused(text: str) -> None:
    from schemas.errors import SchemaRefused

    with pytest.raises(SchemaRefused):
        parse_policy(text)


def test_a_policy_is_octets_and_names_beyond_ascii_are_opaque() -> None:
    text = f"# \xff\n witness \xe9 {W1} \n\tgroup g\tany \xe9\nquorum g"
    assert parse_policy(text.encode("latin-1")).groups["g"][0] == 1


def test_a_proof_with_extra_data_proves_the_same() -> None:
    text = LOG.proof(123).replace("index 123\n", "extra AAAA\nindex 123\n")
    assert parse_proof(text).extra == bytes(3)
    assert parse_proof(text).path == parse_proof(LOG.proof(123)).path


def test_groups_of_groups_count_countries_and_not_keys() -> None:
    signers = {name: witness(f"{name}.example/w") for name in ("al1", "al2", "it1", "rs1")}
    lines = [f"witness {name} {signer.verifier.to_text()}" for name, signer in signers.items()]
    policy = parse_policy(
        "# two countries\n"
        + "\n".join(lines)
        + "\n\ngroup al any al1 al2\n\tgroup all-of-it all it1\ngroup two 2 al all-of-it rs1\n"
        "quorum two\n"
    )
    text = HEAD.checkpoint.text

    def met(*names: str) -> bool:
        return policy.is_met(
            [
                signers[name].verifier.verify(text, signers[name].sign(text, START).value)
                for name in names
            ]
        )

    assert not met("al1", "al2")
    assert not met("it1")
    assert met("al2", "it1")
    assert met("it1", "rs1")


def test_a_proof_text_in_any_other_form_is_refused() -> None:
    good = LOG.proof(123)
    for text in (
        "",
        good.replace("@v1", "@v2"),
        good.replace("index 123", "index 0123"),
        good.replace("index 123", "index -1"),
        good.replace("index 123\n", "extra AAA\nindex 123\n"),
        good.replace("index 123\n", "index 123\nextra AAAA\n"),
        good.replace("index 123\n", "extra AAAA\n"),
        good.replace("index 123\n", f"index 123\n{b64(bytes(31))}\n"),
        good.replace("index 123\n", "index 123\n" + f"{b64(bytes(32))}\n" * 64),
        good.replace("\n\n", "\n"),
    ):
        assert not verify_proof(with_member("proof", text), POLICY).proven


def test_a_leaf_with_more_in_it_is_not_a_leaf() -> None:
    from broker.audit.proofs.offline import Failed

    body = some_leaf()
    for other in (
        body.replace(b'"v":1', b'"v":1,"w":1'),
        body.replace(b'"v":1', b'"v":2'),
        body.replace(b",", b", ", 1),
        body.replace(b"envelope:submitted", b"somebody was here"),
        body + b" ",
        b"null",
    ):
        with pytest.raises(Failed):
            read_leaf(other)
