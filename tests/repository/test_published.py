"""What is published for other implementations is what the code does, and others can read it."""

from __future__ import annotations

import json
from functools import cache
from typing import Any
from uuid import UUID

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator, FormatChecker
from openapi_spec_validator import OpenAPIV31SpecValidator
from pydantic_asyncapi import AsyncAPI
from referencing import Registry, Resource

from schemas.catalogue import catalogue, check_message
from schemas.errors import SchemaRefused
from schemas.message import Message
from schemas.sections import SECTIONS, validate_section
from tests.support.published import FOLDER, documents, urn, written

BY_NAME = dict(documents())
SCHEMAS = {name: one for name, one in BY_NAME.items() if "$id" in one}
REGISTRY: Registry[Any] = Registry().with_resources(
    [(one["$id"], Resource.from_contents(one)) for one in SCHEMAS.values()]
)
IDENTITY = "0194f3a0-0000-7000-8000-000000000077"


@cache
def validator(identifier: str) -> Draft202012Validator:
    schema = REGISTRY.contents(identifier)
    return Draft202012Validator(schema, registry=REGISTRY, format_checker=FormatChecker())


def models_take(document: dict[str, Any]) -> bool:
    """True if our own models take it."""
    message = Message(
        type=document["type"],
        business_id=UUID(IDENTITY),
        case_ref="CASE-1",
        body=document["body"],
        sections=document.get("sections", {}),
    )
    try:
        for name, content in message.sections.items():
            validate_section(name, content)
        catalogue[message.type].body.from_json(json.dumps(message.body))
        check_message(message)
    except SchemaRefused:
        return False
    return True


def test_the_files_are_those_that_the_code_writes() -> None:
    there = {path.relative_to(FOLDER).as_posix(): path for path in FOLDER.rglob("*.json")}

    assert there.keys() == BY_NAME.keys(), "python -m tests.support.published"
    stale = [n for n, p in there.items() if p.read_text(encoding="utf-8") != written(BY_NAME[n])]
    assert not stale, "python -m tests.support.published"


def test_every_schema_is_one_and_leads_nowhere_but_to_another_of_ours() -> None:
    for schema in SCHEMAS.values():
        Draft202012Validator.check_schema(schema)
        resolver = REGISTRY.resolver(schema["$id"])
        for reference in references(schema):
            resolver.lookup(reference)
    assert len({one["$id"] for one in SCHEMAS.values()}) == len(SCHEMAS)


def references(node: object) -> list[str]:
    if isinstance(node, dict):
        own = [node["$ref"]] if isinstance(node.get("$ref"), str) else []
        return own + [ref for value in node.values() for ref in references(value)]
    if isinstance(node, list):
        return [ref for value in node for ref in references(value)]
    return []


def test_each_type_has_an_example_that_the_schema_and_the_models_take() -> None:
    wrong = {}
    for name in catalogue:
        example = BY_NAME[f"examples/{name}.json"]
        errors = [e.json_path for e in validator(urn("message", name)).iter_errors(example)]
        if errors or not models_take(example):
            wrong[name] = errors
    assert not wrong


WRONG: tuple[object, ...] = (
    None,
    True,
    -1,
    1.5,
    "",
    "\u0000",
    [],
    {},
    [None],
    {"?": 1},
    "x" * 30_000,
)


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.sampled_from(sorted(catalogue)), st.sampled_from(WRONG), st.data())
def test_what_the_schema_refuses_the_models_refuse(
    name: str, value: object, data: st.DataObject
) -> None:
    """Never the other way: what is stricter than we are would refuse what we send. Laxer it is in
    what JSON Schema cannot say, and `schemas/published/README.md` lists that."""
    document = json.loads(json.dumps(BY_NAME[f"examples/{name}.json"]))
    body = document["body"]
    names = [*catalogue[name].body.model_fields, "not_a_field"]
    body[data.draw(st.sampled_from(names))] = value

    refused = not validator(urn("message", name)).is_valid(document)

    assert not (refused and models_take(document))


def test_a_wrong_value_of_the_plain_kinds_is_refused_by_both() -> None:
    both = {"unknown field": 0, "wrong type": 0, "missing": 0}
    for name, row in catalogue.items():
        example = BY_NAME[f"examples/{name}.json"]
        spoilt = {"unknown field": {**example["body"], "not_a_field": 1}}
        required = [n for n, field in row.body.model_fields.items() if field.is_required()]
        if required:
            spoilt["missing"] = {n: v for n, v in example["body"].items() if n != required[0]}
            spoilt["wrong type"] = {**example["body"], required[0]: {"?": [1]}}
        for kind, body in spoilt.items():
            document = {**example, "body": body}
            assert not validator(urn("message", name)).is_valid(document), (name, kind)
            assert not models_take(document), (name, kind)
            both[kind] += 1
    assert min(both.values()) > 50


def test_a_section_s_schema_takes_what_its_model_writes_and_no_unknown_field() -> None:
    for spec in SECTIONS.values():
        check = validator(urn("section", spec.id))
        assert check.is_valid({})
        assert not check.is_valid({"not_a_field": 1})


def test_the_queues_are_described_as_asyncapi_has_it() -> None:
    AsyncAPI.model_validate(BY_NAME["asyncapi.json"])


def test_hub_and_gateway_are_described_as_openapi_has_it() -> None:
    for side in ("hub", "gateway"):
        document = BY_NAME[f"openapi-{side}.json"]
        assert document["openapi"].startswith("3.1")
        OpenAPIV31SpecValidator(document).validate()
        for path, methods in document["paths"].items():
            for method, operation in methods.items():
                assert "default" in operation["responses"], (method, path)


def test_whatever_the_gateway_is_told_about_a_person_wants_a_worker() -> None:
    paths = BY_NAME["openapi-gateway.json"]["paths"]

    guarded = {path for path, methods in paths.items() if path.startswith("/v1/")}
    assert len(guarded) > 30
    bodies = [path for path in guarded if "requestBody" in paths[path].get("post", {})]
    assert len(bodies) > 15
    for path in guarded:
        for operation in paths[path].values():
            assert operation["security"] == [{"worker": []}]
