"""Check our answers against RingCentral's own OpenAPI file, where the reference material is at hand.

The file is an oracle, not ours to ship: tests ask for the `reference` fixture, which skips them where it is absent.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from openapi_schema_validator import OAS30Validator

FILE = "reference/messaging-openapi.yml"

Schema = dict[str, Any]


def assert_valid(reference: Path, operation: str, status: int, body: bytes) -> None:
    """Fail unless `body` is what the operation (its operationId) documents for `status`.

    An answer without a documented body must be empty; an error is checked against the documented error model.
    """
    schema = response_schema(reference, operation, status)
    if schema is None:
        assert body == b"", f"{operation} documents no body for {status}"
        return
    assert_matches(reference, schema, json.loads(body))


def assert_matches(reference: Path, schema: Schema, value: object) -> None:
    """Fail unless `value` is valid by `schema`, whose references lead into the file."""
    validator = OAS30Validator({**schema, "components": _load(reference)["components"]})
    wrong = [f"{'/'.join(map(str, one.absolute_path))}: {one.message}" for one in validator.iter_errors(value)]
    assert not wrong, "\n".join(wrong)


def component(name: str) -> Schema:
    """The schema of that name in the file."""
    return {"$ref": f"#/components/schemas/{name}"}


def operations(reference: Path) -> dict[str, tuple[str, str]]:
    """Every operationId of the file with its method (upper case) and path."""
    return {
        operation["operationId"]: (method.upper(), path)
        for path, methods in _load(reference)["paths"].items()
        for method, operation in methods.items()
        if isinstance(operation, dict) and "operationId" in operation
    }


def response_schema(reference: Path, operation: str, status: int) -> Schema | None:
    """What the file documents for that answer; None where it documents that there is no JSON."""
    method, path = operations(reference)[operation]
    responses = _load(reference)["paths"][path][method.lower()]["responses"]
    answer = responses.get(str(status))
    if answer is None:
        assert status >= 400, f"{operation} documents {sorted(responses)}, not {status}"
        return component("ApiErrorResponseModel")
    if "$ref" in answer:
        answer = _load(reference)["components"]["responses"][answer["$ref"].rpartition("/")[2]]
    content = answer.get("content", {})
    return next((kind["schema"] for name, kind in content.items() if name.endswith("json")), None)


@cache
def _load(reference: Path) -> Any:
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    return yaml.load((reference / FILE).read_text(), Loader=loader)
