"""What /openapi.json describes, and what there is."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from openapi_spec_validator import validate

from ipquery.serve.api.app import Api
from ipquery.serve.api.openapi import EXPLANATIONS, openapi
from ipquery.serve.api.page import FILES_PATH, read_files
from ipquery.serve.api.problems import KINDS

METHODS = {"get", "head", "post", "put", "delete", "options", "trace", "patch"}


@pytest.fixture(params=[True, False], ids=["page", "no page"])
def document(request: pytest.FixtureRequest) -> Any:
    return openapi(request.param)


def test_it_is_openapi(document: Any) -> None:
    validate(document)
    assert document["openapi"].startswith("3.1.")


def test_every_route_is_described_and_nothing_else() -> None:
    routes = {
        (re.sub(r"<(\w+)>", r"{\1}", str(rule)), method.lower())
        for rule in Api.app.url_map.iter_rules()
        for method in rule.methods or ()
    }
    described = {
        (path, method)
        for path, operations in openapi(True, gives_snapshot=True)["paths"].items()
        for method in operations
        if method in METHODS
    }
    assert described == routes


def _operations(document: Any) -> Iterator[tuple[str, str, Any]]:
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            yield path, method, operation


def test_operations_are_told_apart_and_said(document: Any) -> None:
    names = [operation["operationId"] for _, _, operation in _operations(document)]
    assert len(names) == len(set(names))
    tags = {tag["name"] for tag in document["tags"]}
    for path, _, operation in _operations(document):
        assert operation["summary"]
        assert set(operation["tags"]) <= tags
        asked = {one["name"] for one in operation["parameters"] if one["in"] == "path"}
        assert asked == set(re.findall(r"\{(\w+)\}", path))


def test_every_problem_is_explained(document: Any) -> None:
    assert EXPLANATIONS.keys() == KINDS.keys()
    assert document["x-problems"].keys() == KINDS.keys()
    told = {
        name
        for _, _, operation in _operations(document)
        for response in operation["responses"].values()
        for name in response.get("x-problems", ())
    }
    # What no operation says, as there is none then.
    assert told == KINDS.keys() - {"method-not-allowed"}


def test_the_files_of_the_page_are_named() -> None:
    (name,) = openapi(True)["paths"]["/page/{name}"]["get"]["parameters"]
    files = {path.removeprefix(FILES_PATH) for path in read_files() if path != "/"}
    assert set(name["schema"]["enum"]) == files
