"""The commands as people type them, against processes that really run.

One network for the module: a hub, two countries and a shelter on loopback.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from broker.cli.homes.network import sample_cases
from broker.cli.terminal.failures import Exit
from tests.support.processes import Ended, Running, command, running

CASE = "IT-DEMO-0001"
SECTIONS = ("case_admin", "identity_core", "demographics_language")


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(tmp_path_factory.mktemp("network")) as made:
        yield made


@pytest.fixture(scope="module")
def grant(net: Running) -> str:
    return net.consent(CASE, *SECTIONS)


def referral(grant: str, *more: str, sections: tuple[str, ...] = SECTIONS) -> list[str]:
    return [
        *("send", "--to", "al.nrm", "--type", "referral.request", "--case", CASE),
        *("--from-file", str(sample_cases()), "--purpose", "protection", "--grant", grant),
        *("--set", 'services=["safe_house"]', *more),
        *(word for section in sections for word in ("--section", section)),
    ]


def test_a_dry_run_says_what_is_clear_and_what_is_sealed_and_sends_nothing(
    net: Running, grant: str
) -> None:
    ended = net.run("it.nrm", *referral(grant, "--dry-run"))
    assert ended.code == Exit.OK, ended.err
    clear, sealed = ended.json["clear"], ended.json["sealed"]
    assert clear["to"] == "al.nrm"
    assert "referral.request" not in json.dumps(clear)
    assert "Invented-Arta" not in json.dumps(clear)
    assert sealed["casework"]["type"] == "referral.request"
    assert set(sealed["casework"]["sections"]) == set(SECTIONS)
    sent = net.run("it.nrm", "inbox", "--sent").lines
    assert "referral.request" not in {message["type"] for message in sent}


def test_a_referral_goes_there_and_its_answer_comes_back(
    net: Running, grant: str, tmp_path: Path
) -> None:
    sent = net.run("it.nrm", *referral(grant))
    assert sent.code == Exit.OK, sent.err
    assert "services_support" in sent.json["expected_too"]
    assert "it travels without them" in sent.err
    message = sent.json["id"]
    arrived = net.eventually("al.nrm", "show", message)
    assert arrived.json["type"] == "referral.request"
    opened = net.run("al.nrm", "show", message, "--open")
    assert opened.json["sections"]["identity_core"]["first_name"] == "Invented-Arta"
    question = tmp_path / "question.txt"
    question.write_text("Which language?")
    asked = net.run("al.nrm", "answer", "ask", message, "--question", str(question))
    assert asked.code == Exit.OK, asked.err
    reply = tmp_path / "answer.txt"
    reply.write_text("Albanian.")
    question_id = asked.json["id"]
    net.eventually("it.nrm", "show", question_id)
    told = net.run("it.nrm", "answer", "reply", question_id, "--answer", str(reply))
    assert told.code == Exit.OK, told.err
    net.eventually("al.nrm", "show", told.json["id"])
    assert net.run("al.nrm", "answer", "accept", message).code == Exit.OK
    thread = sent.json["thread"]
    net.eventually(
        "it.nrm", "show", thread, "--thread", until=lambda ended: ended.json["state"] == "accepted"
    )


def test_a_case_is_handed_over_by_commands_and_both_sign(net: Running, tmp_path: Path) -> None:
    given = net.run(
        "it.nrm",
        *("consent", "record", "--to", "al.nrm", "--case", CASE, "--principal", "p-1"),
        *("--scope", "case_transfer:case_admin,identity_core", "--until", "2030-01-01"),
        *("--language", "sqi", "--notice", "n-1"),
    )
    sections = tmp_path / "sections.json"
    sections.write_text('{"case_admin": {"status": "Active"}}')
    consented = ("--grant", given.json["grant"], "--sections", str(sections))

    def say(speaker: str, listener: str, *words: str) -> dict[str, Any]:
        ended = net.run(speaker, "transfer", *words)
        assert ended.code == Exit.OK, ended.err
        net.eventually(listener, "show", ended.json["id"])
        return ended.json

    def owner(participant: str) -> str:
        return str(net.run(participant, "show", thread, "--thread").json["owner"])

    it, al = "it.nrm", "al.nrm"
    offer = say(
        *(it, al, "offer", "--to", al, "--case", CASE, "--date", "2026-12-01", *consented),
        *("--risk-until", "2030-01-01"),
    )
    thread = offer["thread"]
    accepted = say(al, it, "accept", offer["id"])
    file = say(it, al, "casefile", accepted["id"], *consented)
    complete = say(al, it, "ack", file["id"])
    signed = say(it, al, "complete", complete["id"], "--met-on", "2026-11-20")
    assert owner(it) == it
    countersign = ("--met-on", "2026-11-20", "--countersign")
    say(al, it, "complete", signed["id"], *countersign)
    assert owner(it) == owner(al) == al
    too_late = net.run(it, "transfer", "revoke", offer["id"], "--reason", "person_asked")
    assert too_late.code == Exit.FAILED
    assert too_late.error["code"] == "not-permitted"


def test_she_is_told_by_a_way_that_she_called_safe_and_her_data_come_from_who_has_them(
    net: Running, grant: str
) -> None:
    sent = net.run("it.nrm", *referral(grant)).json
    net.eventually("al.nrm", "show", sent["id"])
    waiting = net.run("it.nrm", "notice", "list").lines
    told = next(one["id"] for one in waiting if one["thread"] == sent["thread"])
    done = ("notice", "done", told, "--how")
    by_telephone = net.run("it.nrm", *done, "safe_contact", "--by", "telephone")
    assert by_telephone.code == Exit.POLICY  # nobody said that this is safe
    assert net.run("it.nrm", *done, "read_out").code == Exit.OK

    partners = {one["id"]: one for one in net.run("it.nrm", "participants", "al").lines}
    assert (partners["al.nrm"]["agreement"], partners["al.nrm"]["announced"]) == (True, None)

    ask = ("rights", "ask", "access", CASE)
    assert net.run("it.nrm", *ask).code == Exit.FAILED  # is it she who asks?
    assert net.run("it.nrm", *ask, "--identity-proved").code == Exit.OK

    def came(word: str) -> Callable[[Ended], bool]:
        return lambda ended: any(one["type"] == word for one in ended.lines)

    inbox = net.eventually("al.nrm", "inbox", until=came("access.request")).lines
    request = next(one["id"] for one in inbox if one["type"] == "access.request")
    answered = net.run("al.nrm", "rights", "answer", request, "--texts-read")
    assert answered.code == Exit.OK, answered.err
    assert set(answered.json["sections"]) == set(SECTIONS)
    net.eventually("it.nrm", "inbox", until=came("access.reply"))
    [asked] = net.run("it.nrm", "rights", "status", CASE).lines
    assert (asked["partner"], asked["answer"], asked["open"]) == ("al.nrm", "done", False)


def test_a_referral_is_declined_with_a_reason(net: Running, grant: str) -> None:
    sent = net.run("it.nrm", *referral(grant)).json
    net.eventually("al.nrm", "show", sent["id"])
    without = net.run("al.nrm", "answer", "decline", sent["id"], "--reason", "nonsense")
    assert without.code == Exit.FAILED
    assert without.error["code"] == "schema"
    declined = net.run("al.nrm", "answer", "decline", sent["id"], "--reason", "language")
    assert declined.code == Exit.OK, declined.err
    net.eventually(
        *("it.nrm", "show", sent["thread"], "--thread"),
        until=lambda ended: ended.json["state"] == "declined",
    )


def test_the_newest_checkpoint_is_there_for_everybody(net: Running) -> None:
    ended = command("log", "checkpoint", "--hub", net.network.url, "--json")
    assert ended.code == Exit.OK, ended.err
    assert ended.json["note"].startswith(f"{ended.json['origin']}\n{ended.json['size']}\n")
    away = command("log", "checkpoint", "--hub", "http://127.0.0.1:9", "--json")
    assert away.code == Exit.UNREACHABLE


def test_a_section_outside_consent_ends_with_5_and_its_code(net: Running, grant: str) -> None:
    ended = net.run("it.nrm", *referral(grant, sections=(*SECTIONS, "nationality_documents")))
    assert ended.code == Exit.POLICY
    assert ended.out == ""
    error = ended.error
    assert error["code"] == "consent-scope"
    assert error["where"] == ["sections.nationality_documents"]


def test_without_a_grant_it_ends_with_5(net: Running, grant: str) -> None:
    arguments = referral(grant)
    at = arguments.index("--grant")
    ended = net.run("it.nrm", *arguments[:at], *arguments[at + 2 :])
    assert ended.code == Exit.POLICY
    assert ended.error["code"] == "consent-missing"


def test_a_message_that_is_not_there_ends_with_4(net: Running) -> None:
    ended = net.run("it.nrm", "show", "01a20153-d6ae-7e8b-bb88-75a6cda47299")
    assert ended.code == Exit.NOT_FOUND


def test_a_participant_that_nobody_knows_ends_with_4(net: Running, grant: str) -> None:
    arguments = ["xx.nobody" if word == "al.nrm" else word for word in referral(grant)]
    assert net.run("it.nrm", *arguments).code == Exit.NOT_FOUND


def test_an_exception_needs_two_workers(net: Running, tmp_path: Path) -> None:
    reason = tmp_path / "reason.txt"
    reason.write_text("Invented danger.")
    proposed = net.run(
        "it.nrm",
        *("safety", "propose", "--to", "al.nrm", "--case", CASE, "--reason", str(reason)),
        *("--code", "vital_interest_life", "--review-by", "2030-01-01T00:00:00Z"),
        *("--set", "danger=threat_to_life", "--set", "facts=Invented", "--set", "action=protect"),
        *("--set", "emergency_contact=duty officer, invented"),
    )
    assert proposed.code == Exit.OK, proposed.err
    exception = proposed.json["id"]
    same = net.run("it.nrm", "safety", "approve", exception, worker="first")
    assert same.code == Exit.POLICY
    assert same.error["code"] == "exception"
    other = net.run("it.nrm", "safety", "approve", exception, worker="second")
    assert other.code == Exit.OK, other.err
    alert = other.json["id"]
    net.eventually("al.nrm", "show", alert)
    assert net.run("al.nrm", "answer", "alert", alert).code == Exit.OK


def test_a_delivery_is_proven_offline(net: Running, grant: str, tmp_path: Path) -> None:
    message = net.run("it.nrm", *referral(grant)).json["id"]
    net.eventually(
        "it.nrm", "show", message, until=lambda ended: ended.json["state"] in ("filed", "read")
    )
    proof, keys, vkey = (str(tmp_path / name) for name in ("proof", "keys", "vkey"))
    net.eventually("it.nrm", "log", "proof", message, "--out", proof)
    auditor = str(net.home("it.auditor"))
    assert command("directory", "keys", "--home", auditor, "--out", keys).code == Exit.OK
    Path(vkey).write_text(command("log", "vkey", "--home", auditor).out)
    verify = ("log", "verify", proof, "--vkey", vkey, "--keys", keys)
    proven = command(*verify, "--envelope", message, "--fact", "delivered")
    assert proven.code == Exit.OK, proven.out
    assert "al.nrm states: delivered" in proven.out
    # The same proof says nothing about another message, or another fact.
    assert command(*verify, "--envelope", grant).code == Exit.VERIFICATION
    assert command(*verify, "--fact", "read").code == Exit.VERIFICATION


def test_only_an_auditor_downloads_the_log(net: Running, tmp_path: Path) -> None:
    export = ("log", "export", "--json", "--out")
    refused = command(*export, str(tmp_path / "a"), "--home", str(net.home("it.nrm")))
    assert refused.code == Exit.FAILED
    assert refused.error["code"] == "forbidden"
    allowed = command(*export, str(tmp_path / "b"), "--home", str(net.home("it.auditor")))
    assert allowed.code == Exit.OK, allowed.err
    assert allowed.json["log_size"] > 0


def test_a_suspended_agreement_stops_what_is_sent_and_both_resume_it(
    net: Running, grant: str
) -> None:
    home = str(net.home("it.nrm"))
    (listed,) = command("agreement", "list", "--home", home, "--json").lines
    assert command("agreement", "suspend", listed["id"], "--home", home).code == Exit.OK
    (listed,) = command("agreement", "list", "--home", home, "--json").lines
    assert listed["suspended"] is True
    assert command("agreement", "resume", listed["id"], "--home", home).code == Exit.OK
    (listed,) = command("agreement", "list", "--home", home, "--json").lines
    assert listed["suspended"] is False


def test_a_withdrawal_needs_no_hub_and_nothing_travels_after_it(net: Running, grant: str) -> None:
    net.hub.kill()
    try:
        withdrawn = net.run("it.nrm", "withdraw", grant)
        assert withdrawn.code == Exit.OK, withdrawn.err
        after = net.run("it.nrm", *referral(grant))
        assert after.code == Exit.POLICY
        assert after.error["code"] == "consent-withdrawn"
    finally:
        net.hub.start()
        net.hub.wait_ready()
    net.eventually(
        "it.nrm",
        *("consent", "show", grant, "--erasures"),
        until=lambda ended: any(
            one["participant"] == "al.nrm" for one in ended.json["attestations"]
        ),
    )


def test_a_gateway_that_does_not_run_ends_with_6(net: Running) -> None:
    net.gateways["it.nrm"].end()
    ended = net.run("it.nrm", "inbox")
    assert ended.code == Exit.UNREACHABLE
    assert ended.out == ""
