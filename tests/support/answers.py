"""What hub and gateway answer when they do what they were asked: status, form, members.

FastAPI cannot see it, since routes answer with plain dictionaries. `tests.support.openapi` publishes
it; `tests/integration/test_published_answers.py` puts requests to the real applications and compares.
A member that is not listed is one too many, and so is a status.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

Shape = Any
"""A type, `[shape]` for a list, `{name: shape}` for an object with exactly these members, or one of the
two below."""


@dataclass(frozen=True)
class Or:
    """Null, or this."""

    shape: Shape


@dataclass(frozen=True)
class Form:
    """Bytes of a media type of their own."""

    media_type: str


JSON = "application/json"
JOSE = Form("application/jose+json")
TEXT = Form("text/plain")
BYTES = Form("application/octet-stream")
NOTHING = None
_PLAIN = {str: "string", int: "integer", bool: "boolean", float: "number", dict: "object"}


def schema(shape: Shape) -> dict[str, Any]:
    """As JSON Schema 2020-12."""
    if isinstance(shape, Or):
        return {"anyOf": [schema(shape.shape), {"type": "null"}]}
    if isinstance(shape, list):
        return {"type": "array", "items": schema(shape[0])}
    if isinstance(shape, dict):
        return {
            "type": "object",
            "properties": {name: schema(one) for name, one in shape.items()},
            "required": list(shape),
            "additionalProperties": False,
        }
    return {"type": _PLAIN[shape]}


def responses(answers: Mapping[int, Shape]) -> dict[str, Any]:
    """For an operation of an OpenAPI document."""
    said = {200: "Done, or done before.", 201: "Recorded.", 202: "Taken.", 204: "Done."}
    said[503] = "Not now; the codes say why."
    found: dict[str, Any] = {}
    for status, shape in answers.items():
        found[str(status)] = {"description": said[status]}
        if isinstance(shape, Form):
            found[str(status)]["content"] = {shape.media_type: {}}
        elif shape is not NOTHING:
            found[str(status)]["content"] = {JSON: {"schema": schema(shape)}}
    return found


_TEXTS = [str]
_NEW_OR_KNOWN: Mapping[int, Shape] = {201: {}, 200: {}}
_FACT = {"fact": str, "at": str, "by": str, "evidence": str, "code": Or(str)}
_RABBITMQ = {"hosts": _TEXTS, "vhost": str, "user": str, "access": Or(dict), "queues": dict}

HUB: Mapping[str, Mapping[int, Shape]] = MappingProxyType(
    {
        "GET /agreements": {200: {"agreements": [{"agreement": str, "suspensions": _TEXTS}]}},
        "POST /agreements": _NEW_OR_KNOWN,
        "GET /attachments/{digest}": {200: BYTES},
        "PUT /attachments/{digest}": {201: NOTHING, 200: NOTHING},
        "GET /channels": {200: {"mailbox": bool, "rabbitmq": Or(_RABBITMQ)}},
        "GET /directory/metadata/{name}": {200: Form(JSON)},
        "HEAD /directory/metadata/{name}": {200: NOTHING},
        "GET /directory/targets/{path}": {200: Form(JSON)},
        "HEAD /directory/targets/{path}": {200: NOTHING},
        "POST /envelopes": {201: JOSE, 200: JOSE},
        "GET /envelopes/{envelope}": {
            200: {"id": str, "digest": str, "state": str, "facts": [_FACT]}
        },
        "POST /evidence": {202: NOTHING},
        "GET /find": {200: Form("text/html")},
        "POST /grants": _NEW_OR_KNOWN,
        "GET /grants/changes": {
            200: {
                "changes": [{"cursor": int, "grant": str, "envelope": str}],
                "cursor": int,
                "as_of": str,
            }
        },
        "GET /grants/{grant}": {
            200: {"statement": str, "status": str, "removed": _TEXTS, "as_of": str}
        },
        "POST /incarnation": {200: {"lease_seconds": int}},
        "GET /livez": {200: {"live": bool}},
        "HEAD /livez": {200: NOTHING},
        "GET /log/add-checkpoint": {200: TEXT},
        "GET /log/checkpoint": {200: TEXT},
        "POST /log/cosignatures": {204: NOTHING},
        "GET /log/entries": {200: {"entries": _TEXTS, "next": int, "size": int}},
        "POST /log/accepted": {200: {"missing": bool}},
        "POST /log/heads": {200: {"missing": bool}},
        "GET /log/policy": {200: TEXT},
        "GET /log/proof": {
            200: {
                "evidence": str,
                "leaf": str,
                "opening": dict,
                "proof": str,
                "directory_version": int,
            }
        },
        "GET /log/tile/entries/{path}": {200: BYTES},
        "GET /log/tile/{path}": {200: BYTES},
        "GET /mailbox": {200: {"items": [{"delivery": int, "kind": str, "jws": str}]}},
        "POST /mailbox/acknowledgements": {204: NOTHING},
        "GET /readyz": {
            key: {"ready": bool, "codes": _TEXTS, "ending": dict} for key in (200, 503)
        },
        "HEAD /readyz": {200: NOTHING, 503: NOTHING},
        "GET /revocations": {200: {"revocations": [{"position": int, "revocation": str}]}},
        "POST /revocations": _NEW_OR_KNOWN,
        "GET /startupz": {key: {"started": bool} for key in (200, 503)},
        "HEAD /startupz": {200: NOTHING, 503: NOTHING},
        "GET /streams": {200: {"incarnation": Or(str), "highest": int}},
        "GET /streams/marks": {200: {"marks": [str]}},
        "POST /streams/marks": {204: NOTHING},
        "GET /streams/numbers": {
            200: {
                "numbers": [
                    {"number": int, "id": str, "digest": str, "state": str, "accepted_at": str}
                ]
            }
        },
        "POST /suspensions": {201: {}},
    }
)

_STATUS = {"status": str}
_GRANT = {"grant": str}
_ID = {"id": str}
_PAPER = {"html": str, "text": str}
_COUNTS = {"outbox": dict, "inbox": dict, "opened": int, "quarantined": int, "alarms": int}
_CONSENT = {
    "grant": str,
    "sender": str,
    "recipient": str,
    "state": str,
    "registered": bool,
    "valid_from": str,
    "until": str,
    "case_ref": Or(str),
    "derived_from": Or(str),
    "scopes": [dict],
}
_FIGURE = {
    "corridor": Or(str),
    "exploitation": Or(str),
    "age": Or(str),
    "sex": Or(str),
    "count": Or(int),
}
_HELD = {
    "id": str,
    "number": int,
    "partner": Or(str),
    "code": str,
    "channel": str,
    "at": str,
}
_ALARM = {
    "id": str,
    "kind": str,
    "code": str,
    "at": str,
    "cleared_at": Or(str),
    "role": Or(str),
}
_OWED = {
    "id": str,
    "type": str,
    "owed": str,
    "partner": str,
    "case_ref": str,
    "thread": str,
    "asked_at": str,
    "due_at": str,
    "state": str,
    "role": Or(str),
}
_EXCEPTION = {
    "id": str,
    "code": str,
    "case_ref": str,
    "requested_by": str,
    "approved_by": Or(str),
    "message": Or(str),
    "review_by": Or(str),
    "tell_by": Or(str),
    "told_at": Or(str),
    "at": str,
}

GATEWAY: Mapping[str, Mapping[int, Shape]] = MappingProxyType(
    {
        "GET /livez": {200: _STATUS},
        "GET /startupz": {200: _STATUS},
        "GET /readyz": {key: {"codes": _TEXTS} for key in (200, 503)},
        "GET /v1/alarms": {200: {"alarms": [_ALARM], "items": [_ALARM]}},
        "POST /v1/case-system/changed": {204: NOTHING},
        "POST /v1/case-system/news": {200: _ID},
        "POST /v1/cases/search": {
            200: {
                "cases": [
                    {
                        "id": str,
                        "type": str,
                        "partner": str,
                        "case_ref": str,
                        "business_id": str,
                        "reference": Or(str),
                        "same_as": Or(str),
                        "state": str,
                        "at": str,
                        "before": [{"id": str, "type": str, "at": str}],
                    }
                ],
                "more": bool,
            }
        },
        "POST /v1/cases/sheet": {200: _PAPER},
        "GET /v1/consents": {200: {"consents": [_CONSENT]}},
        "POST /v1/consents": {200: _GRANT},
        "POST /v1/consents/search": {200: {"consents": [_CONSENT]}},
        "GET /v1/consents/{grant}": {200: _CONSENT},
        "GET /v1/consents/{grant}/receipt": {200: _PAPER},
        "GET /v1/consents/{grant}/record": {200: dict},
        "POST /v1/consents/{grant}/renew": {200: _GRANT},
        "POST /v1/consents/{grant}/withdraw": {200: {"message": str, "thread": str}},
        "GET /v1/deadlines": {200: {"deadlines": [_OWED]}},
        "GET /v1/deadlines/{message}/draft": {200: dict},
        "POST /v1/drafts": {200: {"cases": [dict], "refused": [dict]}},
        "GET /v1/erasures/{about}": {
            200: {
                "about": str,
                "grant": Or(str),
                "state": Or(str),
                "attestations": [dict],
                "silent": _TEXTS,
                "pending_here": _TEXTS,
                "kept_here": _TEXTS,
            }
        },
        "GET /v1/exceptions": {200: {"exceptions": [_EXCEPTION]}},
        "POST /v1/exceptions": {200: _ID},
        "POST /v1/exceptions/{exception}/approve": {200: dict},
        "POST /v1/exceptions/{exception}/told": {200: _ID},
        "POST /v1/exclusions": {200: dict},
        "POST /v1/exclusions/lift": {200: dict},
        "GET /v1/messages": {200: {"messages": [dict], "next": Or(int)}},
        "POST /v1/messages": {200: dict},
        "GET /v1/messages/{message}": {200: dict},
        "GET /v1/messages/{message}/attachments/{digest}": {200: BYTES},
        "POST /v1/messages/{message}/open": {200: dict},
        "POST /v1/messages/{message}/replay": {200: dict},
        "GET /v1/notices": {200: {"notices": [dict]}},
        "GET /v1/notices/{notice}": {200: {**_PAPER, "contact": Or(dict)}},
        "POST /v1/notices/{notice}/done": {200: {"id": str, "how": str}},
        "GET /v1/participants": {200: {"participants": [dict]}},
        "GET /v1/proof/{message}": {
            200: {
                "evidence": str,
                "leaf": str,
                "opening": dict,
                "proof": str,
                "directory_version": int,
                "keys": [dict],
            }
        },
        "GET /v1/quarantine": {200: {"quarantine": [_HELD], "items": [_HELD]}},
        "GET /v1/quarantine/{number}": {200: BYTES},
        "GET /v1/questions": {200: {"questions": [dict]}},
        "POST /v1/questions/{message}": {200: {"id": str, "answer": str}},
        "GET /v1/recount": {200: _COUNTS},
        "POST /v1/rights/answer": {
            200: {"messages": [dict], "sections": _TEXTS, "withheld": _TEXTS}
        },
        "POST /v1/rights/ask": {200: {"asked": str}},
        "POST /v1/rights/copy": {200: {"copy": dict, **_PAPER}},
        "GET /v1/rights/holds": {
            200: {"holds": [{"about": str, "basis": str, "worker": str, "since": str}]}
        },
        "POST /v1/rights/holds": {200: {"about": str, "basis": str}},
        "POST /v1/rights/holds/take-off": {200: {"about": str}},
        "POST /v1/rights/ledger": {200: {"disclosures": [dict]}},
        "POST /v1/rights/status": {200: {"told": [dict], "open": int}},
        "POST /v1/safeguards": {200: {"about": Or(str), "safeguards": dict}},
        "POST /v1/safeguards/show": {200: {"about": Or(str), "safeguards": dict}},
        "POST /v1/safeguards/why": {200: dict},
        "GET /v1/statistics/export": {200: Form("text/csv")},
        "GET /v1/statistics/publications": {200: {"publications": [dict]}},
        "POST /v1/statistics/publications": {
            200: {"first": str, "last": str, "figures": [_FIGURE], "messages": [dict]}
        },
        "GET /v1/statistics/table": {
            200: {"first": str, "last": str, "figures": [_FIGURE], "html": str}
        },
        "GET /v1/status": {
            200: {
                "participant": str,
                "incarnation": str,
                "hub": dict,
                "channel": str,
                "directory_version": int,
                "log_healthy": bool,
                **_COUNTS,
            }
        },
        "GET /v1/threads/{thread}": {200: dict},
    }
)
