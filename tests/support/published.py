"""The published schemas, written from the code: `python -m tests.support.published`.

`schemas/published/` is for those who write another implementation: JSON Schema 2020-12 for each
message type, section and wire object, an example of each type, AsyncAPI 3 of queues and messages,
OpenAPI 3.1 of hub and gateway.
A test keeps them equal to the code. Identifiers are URNs: there is nothing to fetch from anybody.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from schemas.agreement import Agreement, Suspension
from schemas.audit import Leaf, Opening
from schemas.catalogue import catalogue
from schemas.consent import ConsentRecord, GrantStatement
from schemas.directory import Participant
from schemas.envelope import Envelope
from schemas.evidence import Evidence
from schemas.families.base import MessageType
from schemas.families.deadline import Deadline
from schemas.message import CaseworkPart, CompartmentPart
from schemas.revocation import Revocation
from schemas.sections import SECTIONS
from tests.support import openapi
from tests.support.examples import BODIES

FOLDER = Path(__file__).resolve().parents[2] / "schemas" / "published"
DIALECT = "https://json-schema.org/draft/2020-12/schema"
VERSION = 1
WIRE: tuple[type[BaseModel], ...] = (
    Envelope,
    Evidence,
    CaseworkPart,
    CompartmentPart,
    ConsentRecord,
    GrantStatement,
    Agreement,
    Suspension,
    Participant,
    Revocation,
    Leaf,
    Opening,
)

SECTION_EXAMPLES: Mapping[str, dict[str, Any]] = {
    "case_admin": {"status": "Active"},
    "compensation_finance": {"grant_purpose": "tools of a trade"},
    "demographics_language": {"primary_language": "sqi", "interpreter_needed": True},
    "family_dependants": {},
    "guardian_child": {},
    "identification_status": {},
    "identity_core": {"first_name": "Invented", "birthdate": "2004-XX"},
    "nationality_documents": {"citizenship": ["AL"]},
    "reintegration_plan": {},
    "return_travel": {},
    "risk_security": {"risk_level": "medium"},
    "statistics_research": {"citizenship": "AL", "country_of_exploitation": "IT"},
}
"""Invented, and no more than a required section needs to be seen."""


def urn(kind: str, name: str) -> str:
    """The stable identifier of one schema. A change of meaning is a new version."""
    return f"urn:referral-broker:schema:{kind}:{name}:{VERSION}"


def model_schema(kind: str, name: str, model: type[BaseModel]) -> dict[str, Any]:
    """One model as JSON Schema, under its identifier."""
    made = model.model_json_schema(by_alias=True, mode="validation")
    return {"$schema": DIALECT, "$id": urn(kind, name), **made}


def message_schema(row: MessageType) -> dict[str, Any]:
    """What is inside the seal of one type: its name, its body, its sections."""
    body = row.body.model_json_schema(by_alias=True, mode="validation")
    definitions = body.pop("$defs", {})
    allowed = [name for name in SECTIONS if row.permits(name)]
    content: dict[str, Any] = {
        "type": {"const": row.name},
        "body": {"$ref": "#/$defs/Body"},
        "sections": {
            "type": "object",
            "properties": {name: {"$ref": urn("section", name)} for name in allowed},
            "required": sorted(row.required_sections),
            "additionalProperties": False,
        },
    }
    return {
        "$schema": DIALECT,
        "$id": urn("message", row.name),
        "title": row.name,
        "description": (row.body.__doc__ or row.name).strip().splitlines()[0],
        "x-kind": row.kind.value,
        "x-lane": row.lane.value,
        "x-pauses-clock": row.pauses_clock,
        "x-direction": row.corridor.value,
        "x-said-by": row.direction.value,
        "x-senders": sorted(kind.value for kind in row.who_may_send),
        "x-opens-thread": row.opens,
        "x-events": dict(row.events()),
        "x-preconditions": sorted(item.value for item in row.preconditions),
        "x-purposes": None if row.purposes is None else sorted(p.value for p in row.purposes),
        "x-answer-within": _within(row.deadline),
        "x-consent-needed": row.needs_consent,
        "x-replies": list(row.replies),
        "type": "object",
        "properties": content,
        "required": ["type", "body", *(["sections"] if row.required_sections else [])],
        "additionalProperties": False,
        "$defs": {"Body": body, **definitions},
    }


def example(row: MessageType) -> dict[str, Any]:
    """One valid message of a type. Nobody in it exists."""
    listed = {item["name"] for item in BODIES[row.name].get("manifest", ())}
    carried = sorted(row.required_sections | listed)
    sections = {name: SECTION_EXAMPLES[name] for name in carried}
    made = {"type": row.name, "body": BODIES[row.name]}
    return {**made, "sections": sections} if sections else made


def asyncapi() -> dict[str, Any]:
    """Queues and messages: one envelope and one evidence on the wire, whatever is inside."""
    jws = "application/jose+json"
    lanes = {
        lane: {
            "address": "q.{opaque}",
            "title": f"{lane.capitalize()} queue of one participant",
            "description": "A quorum queue whose name tells nobody whose it is; the hub tells its"
            " owner alone. Only the owner's user can read it, only the relay can write it.",
            "parameters": {"opaque": {"description": "Random, from the hub."}},
            "messages": {
                "envelope": {"$ref": "#/components/messages/envelope"},
                "evidence": {"$ref": "#/components/messages/evidence"},
            },
            "bindings": {
                "amqp": {
                    "is": "queue",
                    "queue": {
                        "name": "q.{opaque}",
                        "durable": True,
                        "exclusive": False,
                        "autoDelete": False,
                    },
                    "bindingVersion": "0.3.0",
                }
            },
        }
        for lane in ("urgent", "routine")
    }
    return {
        "asyncapi": "3.0.0",
        "id": "urn:referral-broker:asyncapi",
        "info": {
            "title": "Referral broker: queues",
            "version": str(VERSION),
            "description": "What a participant's gateway consumes. It publishes nothing here:"
            " envelopes and receipts go to the hub by HTTPS (see the hub's OpenAPI).",
        },
        "servers": {
            "rabbitmq": {
                "host": "{host}:5671",
                "protocol": "amqps",
                "protocolVersion": "0-9-1",
                "description": "RabbitMQ 3.10 to 4.x, TLS, one user for each participant.",
                "variables": {"host": {"description": "As the hub says."}},
            }
        },
        "channels": lanes,
        "operations": {
            f"receive-{lane}": {
                "action": "receive",
                "channel": {"$ref": f"#/channels/{lane}"},
                "title": f"Take what waits, {lane} first",
                "description": "Acknowledge after what it says is stored; a copy may come twice.",
                "security": [{"$ref": "#/components/securitySchemes/participant"}],
            }
            for lane in lanes
        },
        "components": {
            "messages": {
                name: {
                    "name": name,
                    "title": title,
                    "contentType": jws,
                    "payload": {
                        "schemaFormat": f"application/schema+json;version={DIALECT}",
                        "schema": {
                            "type": "object",
                            "description": f"JWS, flattened JSON. Its payload is {urn('wire', what)}.",
                            "properties": {
                                member: {"type": "string", "pattern": "^[A-Za-z0-9_-]+$"}
                                for member in ("protected", "payload", "signature")
                            },
                            "required": ["protected", "payload", "signature"],
                            "additionalProperties": False,
                        },
                    },
                }
                for name, title, what in (
                    ("envelope", "A sealed message from another participant", "Envelope"),
                    ("evidence", "What the hub or a gateway states about envelopes", "Evidence"),
                )
            },
            "securitySchemes": {
                "participant": {
                    "type": "userPassword",
                    "description": "Issued by the hub, sealed to the participant's key.",
                }
            },
        },
    }


def _within(rule: Deadline | None) -> dict[str, Any] | None:
    """What `answer_by` is reckoned by: hours by urgency, working days, or calendar months."""
    if rule is None:
        return None
    if rule.within is not None:
        hour = timedelta(hours=1)
        return {"hours": {urgency.value: span // hour for urgency, span in rule.within.items()}}
    return {"months": rule.months} if rule.months else {"working-days": rule.working_days}


def documents() -> Iterator[tuple[str, dict[str, Any]]]:
    """Every file by its path in the folder."""
    for row in catalogue.values():
        yield f"messages/{row.name}.json", message_schema(row)
        yield f"examples/{row.name}.json", example(row)
    for spec in SECTIONS.values():
        yield f"sections/{spec.id}.json", model_schema("section", spec.id, spec.model)
    for model in WIRE:
        yield f"wire/{model.__name__}.json", model_schema("wire", model.__name__, model)
    yield "asyncapi.json", asyncapi()
    yield "openapi-hub.json", openapi.hub()
    yield "openapi-gateway.json", openapi.gateway()


def written(document: Mapping[str, Any]) -> str:
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


def main(folder: Path = FOLDER) -> None:
    """Write all files, and remove those that are none any more."""
    wanted = {name: written(document) for name, document in documents()}
    for path in folder.rglob("*.json"):
        if path.relative_to(folder).as_posix() not in wanted:
            path.unlink()
    for name, text in wanted.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER)
