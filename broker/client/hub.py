"""The hub's HTTP interface as calls (docs/protocol.md, section 4).

Every failure to get an answer is `Unavailable`, and then it is not known whether the hub acted:
all calls are safe to repeat with the same bytes. A refusal of an envelope is returned, not
raised, because only the evidence in it, verified, may change anything.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from datetime import timedelta
from urllib.parse import urlencode
from uuid import UUID

import httpx2

from broker.client.calls import Calls, error_of, is_later, problem
from broker.client.results import (
    Channels,
    EnvelopeState,
    GrantAnswer,
    GrantChange,
    GrantChanges,
    MailboxItem,
    Proof,
    QueueChannel,
    Refusal,
    StreamNumber,
    Submitted,
    instant,
    jws_bytes,
    proof_of,
)
from keys.http_signing import sign_request
from schemas.envelope import Lane, Part
from schemas.errors import (
    HubUnreachable,
    NotFound,
    Truncated,
    Unavailable,
)

JOSE = "application/jose+json"

UPLOAD_CHUNK = 256 * 1024


class HubClient(Calls):
    """One participant's way to one hub. Safe for concurrent use within one event loop."""

    # --- what carries its own signature -----------------------------------------------------

    async def submit(self, raw: bytes) -> Submitted | Refusal:
        """Hand an envelope to the hub.

        Raises:
            Unavailable: No answer, or "later". It may have been accepted: send the same bytes.
        """
        answer = await self._send("POST", "/envelopes", body=raw, media=JOSE)
        if answer.status_code in (200, 201):
            return Submitted(evidence=answer.content, repeated=answer.status_code == 200)
        said = problem(answer)
        if is_later(answer, said):
            raise error_of(said, answer.status_code)
        evidence = said.get("evidence")
        return Refusal(
            code=str(said.get("code", "refused"))[:40],
            family=str(said.get("family", "suspect"))[:20],
            evidence=None if evidence is None else jws_bytes(evidence),
        )

    async def submit_evidence(self, raw: bytes) -> None:
        """Hand evidence to the hub, for the sender it names."""
        await self._expect("POST", "/evidence", body=raw, media=JOSE)

    async def register_grant(self, raw: bytes) -> None:
        """Register a grant statement; repeating it is harmless."""
        await self._expect("POST", "/grants", body=raw, media=JOSE)

    async def register_agreement(self, raw: bytes) -> None:
        """Register an agreement that both parties signed."""
        await self._expect("POST", "/agreements", body=raw, media=JOSE)

    async def suspend(self, raw: bytes) -> None:
        """Suspend or resume an agreement."""
        await self._expect("POST", "/suspensions", body=raw, media=JOSE)

    async def revoke(self, raw: bytes) -> None:
        """Say that keys are in other hands."""
        await self._expect("POST", "/revocations", body=raw, media=JOSE)

    # --- what is asked under a request signature --------------------------------------------

    async def grant(self, grant: UUID) -> GrantAnswer:
        body = await self._json("GET", f"/grants/{grant}")
        return GrantAnswer(
            statement=jws_bytes(body["statement"]),
            status=str(body["status"]),
            removed=tuple(str(scope) for scope in body["removed"]),
            as_of=instant(body["as_of"]),
        )

    async def grant_changes(self, after: int) -> GrantChanges:
        """Withdrawals of grants that the caller is party to, since `after`."""
        body = await self._json("GET", f"/grants/changes?after={after}")
        return GrantChanges(
            changes=tuple(
                GrantChange(
                    cursor=int(item["cursor"]),
                    grant=UUID(str(item["grant"])),
                    envelope=jws_bytes(item["envelope"]),
                )
                for item in body["changes"]
            ),
            cursor=int(body["cursor"]),
            as_of=instant(body["as_of"]),
        )

    async def revocations(
        self, after: int, *, wait: timedelta = timedelta()
    ) -> tuple[tuple[int, bytes], ...]:
        """Revocations of keys after a position, each with its own; held until there is one."""
        seconds = int(min(wait.total_seconds(), 25))
        body = await self._json(
            "GET", f"/revocations?after={after}&wait={seconds}", held_open=seconds
        )
        return tuple(
            (int(item["position"]), jws_bytes(item["revocation"])) for item in body["revocations"]
        )

    async def agreements(self) -> tuple[tuple[bytes, tuple[bytes, ...]], ...]:
        """The caller's agreements, each with what was said about holding it, as it was signed."""
        body = await self._json("GET", "/agreements")
        return tuple(
            (jws_bytes(item["agreement"]), tuple(jws_bytes(one) for one in item["suspensions"]))
            for item in body["agreements"]
        )

    async def claim_incarnation(self, incarnation: str) -> timedelta:
        """Take or renew the lease on speaking for the participant.

        Raises:
            SecondIncarnation: Another live gateway has it.
        """
        sent = json.dumps({"incarnation": incarnation}).encode()
        body = await self._json("POST", "/incarnation", body=sent)
        return timedelta(seconds=float(body["lease_seconds"]))

    async def mailbox(
        self, lane: Lane, *, limit: int, wait: timedelta = timedelta(), fresh: bool = False
    ) -> tuple[MailboxItem, ...]:
        """Lease what waits in one lane; holds the request up to `wait` until there is something.

        Args:
            fresh: The caller is at work on nothing of this lane: what it was given and lost comes
                again at once.
        """
        seconds = int(min(wait.total_seconds(), 25))
        asked = {"lane": lane.value, "limit": limit, "wait": seconds}
        query = urlencode(asked | ({"fresh": "true"} if fresh else {}))
        body = await self._json("GET", f"/mailbox?{query}", held_open=seconds)
        return tuple(
            MailboxItem(
                delivery=int(item["delivery"]), kind=str(item["kind"]), jws=jws_bytes(item["jws"])
            )
            for item in body["items"]
        )

    async def acknowledge(self, deliveries: Sequence[int]) -> None:
        """Tell the hub that these need not come again. Only after they are committed here."""
        sent = json.dumps({"deliveries": list(deliveries)}).encode()
        await self._expect("POST", "/mailbox/acknowledgements", body=sent, signed=True)

    async def channels(self, use: str | None = None) -> Channels:
        """Which channels there are; `use` (`mailbox` or `amqp`) tells the hub which one we follow."""
        body = await self._json("GET", "/channels" if use is None else f"/channels?use={use}")
        queue = body.get("rabbitmq")
        return Channels(
            mailbox=bool(body.get("mailbox", True)),
            rabbitmq=None
            if not isinstance(queue, dict)
            else QueueChannel(
                hosts=tuple(str(host) for host in queue["hosts"]),
                vhost=str(queue["vhost"]),
                user=str(queue["user"]),
                queues={str(k): str(v) for k, v in dict(queue["queues"]).items()},
                access=None
                if queue["access"] is None
                else Part.from_json(json.dumps(queue["access"])),
            ),
        )

    async def envelope_state(self, message: UUID) -> EnvelopeState | None:
        """The hub's state of one of the caller's envelopes; None if it never had it."""
        try:
            body = await self._json("GET", f"/envelopes/{message}")
        except NotFound:
            return None
        return EnvelopeState(
            id=UUID(str(body["id"])),
            digest=str(body["digest"]),
            state=str(body["state"]),
            evidence=frozenset(UUID(str(fact["evidence"])) for fact in body["facts"]),
        )

    async def stream_highest(
        self, *, sender: str, lane: Lane, to: str | None = None
    ) -> tuple[str | None, int]:
        """The incarnation and the highest number the hub saw from `sender` to the caller, or of
        the caller's own stream `to` somebody."""
        asked = {"from": sender, "lane": lane.value} | ({} if to is None else {"to": to})
        query = urlencode(asked)
        body = await self._json("GET", f"/streams?{query}")
        incarnation = body.get("incarnation")
        return (None if incarnation is None else str(incarnation), int(body["highest"]))

    async def say_high_water(self, raw: bytes) -> None:
        """Hand in how far a stream of the caller's has gone, signed."""
        await self._expect("POST", "/streams/marks", body=raw, media=JOSE)

    async def high_water(self, *, sender: str, lane: Lane) -> tuple[bytes, ...]:
        """What a sender said last of its stream to the caller, for each incarnation."""
        query = urlencode({"from": sender, "lane": lane.value})
        body = await self._json("GET", f"/streams/marks?{query}")
        return tuple(jws_bytes(raw) for raw in body["marks"])

    async def show_head(self, checkpoint: bytes) -> bool:
        """Show the hub a head that its log signed; True if it finds that its log has lost it."""
        return await self._show("/log/heads", checkpoint)

    async def show_accepted(self, evidence: bytes) -> bool:
        """Show the hub its word that it accepted something; True if it knows nothing of it."""
        return await self._show("/log/accepted", evidence)

    async def _show(self, path: str, body: bytes) -> bool:
        return bool((await self._json("POST", path, body=body))["missing"])

    async def stream_numbers(
        self, *, sender: str, lane: Lane, incarnation: str, after: int
    ) -> tuple[StreamNumber, ...]:
        """What the hub accepted for the caller in one stream, from after a number on, in order."""
        query = urlencode(
            {"from": sender, "lane": lane.value, "incarnation": incarnation, "after": after}
        )
        body = await self._json("GET", f"/streams/numbers?{query}")
        return tuple(
            StreamNumber(
                number=int(item["number"]),
                id=UUID(str(item["id"])),
                state=str(item["state"]),
                accepted_at=instant(item["accepted_at"]),
            )
            for item in body["numbers"]
        )

    async def put_attachment(self, digest: str, chunks: AsyncIterator[bytes], *, size: int) -> None:
        """Stream sealed bytes to the hub; safe to repeat with the same bytes.

        The request signature covers the path, and the path names the digest: so the bytes need no
        digest of their own in the header.
        """
        await self._expect_stream("PUT", f"/attachments/{digest}", chunks, size=size)

    async def get_attachment(self, digest: str) -> AsyncIterator[bytes]:
        """Stream sealed bytes from the hub; the caller verifies their digest."""
        url = f"{self.url}/attachments/{digest}"
        headers = sign_request(
            method="GET",
            url=url,
            headers={},
            body=b"",
            signer=self._sign_with(),
            now=self._clock.now(),
        )
        try:
            async with self._http.stream("GET", url, headers=headers) as answer:
                if answer.status_code != 200:
                    await answer.aread()
                    raise error_of(problem(answer), answer.status_code)
                async for chunk in answer.aiter_bytes(UPLOAD_CHUNK):
                    yield chunk
        except httpx2.RemoteProtocolError as error:
            raise Truncated("the download ended early") from error
        except httpx2.TransportError as error:
            raise HubUnreachable(type(error).__name__) from error

    async def proof(self, *, evidence: UUID | None = None, envelope: UUID | None = None) -> Proof:
        """What proves one event of the hub's log."""
        name, value = ("evidence", evidence) if evidence is not None else ("envelope", envelope)
        return proof_of(await self._json("GET", f"/log/proof?{name}={value}"))

    async def checkpoint(self) -> str:
        """The newest signed checkpoint of the hub's log."""
        answer = await self._send("GET", "/log/checkpoint")
        if answer.status_code != 200:
            raise error_of(problem(answer), answer.status_code)
        return answer.text

    async def log_growth(self, old: int) -> bytes:
        """The head that all witnesses are asked to sign, grown from size `old`: the body of
        `add-checkpoint` (C2SP tlog-witness)."""
        answer = await self._send("GET", f"/log/add-checkpoint?old={old}")
        if answer.status_code != 200:
            raise error_of(problem(answer), answer.status_code)
        return answer.content

    async def cosign(self, size: int, lines: Sequence[str]) -> None:
        """Hand in our signatures under the head of a size.

        Raises:
            Forbidden: The directory does not know this key as ours.
            BadSignature: Not over the hub's head of that size.
        """
        body = f"{size}\n{''.join(lines)}".encode()
        await self._expect("POST", "/log/cosignatures", body=body, media="text/plain", signed=True)

    async def log_file(self, path: str) -> bytes:
        """A hash tile (`tile/...`), or for auditors an entry bundle (`tile/entries/...`).

        Raises:
            NotFound: The log does not reach that far.
            Forbidden: An entry bundle, and the caller is no auditor.
        """
        answer = await self._send("GET", f"/log/{path}", signed=True)
        if answer.status_code != 200:
            raise error_of(problem(answer), answer.status_code)
        return answer.content

    async def ready(self) -> bool:
        """True if the hub says that it can accept."""
        try:
            return (await self._send("GET", "/readyz")).status_code == 200
        except Unavailable:
            return False
