"""The reference at ``/docs``: what ``/openapi.json`` says, for people.

Plain HTML in the page's colours, made when a process starts; it works without JavaScript.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from html import escape
from typing import Any

Json = Mapping[str, Any]

# Of those that have examples; in this order where several have the same path.
_METHODS = ("get", "post")

# More take more room than all else that is said there.
_MOST_VALUES = 8

_HEAD = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>ipquery: API reference</title>
<link rel="icon" href="page/icon.svg">
<link rel="stylesheet" href="page/page.css">
</head>
<body class="reference">
"""


def reference(document: Json) -> str:
    """The page.

    :param document: see :func:`~ipquery.serve.api.openapi.openapi`.
    """
    return _HEAD + "\n".join(_parts(document)) + "\n</body>\n</html>\n"


def _parts(document: Json) -> Iterator[str]:
    info = document["info"]
    yield "<header>"
    yield "<h1>ipquery: API reference</h1>"
    yield f"<p>{_text(info['summary'])}</p>"
    yield "</header>"
    yield f'<nav aria-label="Contents">{_contents(document)}</nav>'
    yield "<main>"
    yield "<section>"
    yield from (f"<p>{_text(paragraph)}</p>" for paragraph in info["description"].split("\n\n"))
    yield "</section>"
    for tag in document["tags"]:
        yield f'<section aria-labelledby="{tag["name"]}">'
        yield f'<h2 id="{tag["name"]}">{_text(tag["description"])}</h2>'
        for path, method, operation in _operations(document):
            if operation["tags"] == [tag["name"]]:
                yield from _operation(path, method, operation)
        yield "</section>"
    yield from _problems(document["x-problems"])
    yield from _schemas(document["components"]["schemas"])
    yield "</main>"
    yield '<footer><p><a href="./">ipquery</a> · <a href="openapi.json">OpenAPI</a></p></footer>'


def _operations(document: Json) -> Iterator[tuple[str, str, Json]]:
    for path, operations in document["paths"].items():
        for method in _METHODS:
            if method in operations:
                yield path, method, operations[method]


def _contents(document: Json) -> str:
    shown = [
        f'<li><a href="#{operation["operationId"]}">{method.upper()} {escape(path)}</a></li>'
        for path, method, operation in _operations(document)
    ]
    more = '<li><a href="#problems">Problems</a></li><li><a href="#schemas">Schemas</a></li>'
    return f"<ul>{''.join(shown)}{more}</ul>"


def _operation(path: str, method: str, operation: Json) -> Iterator[str]:
    name = operation["operationId"]
    yield f'<article aria-labelledby="{name}">'
    yield f'<h3 id="{name}"><code>{method.upper()} {escape(path)}</code></h3>'
    yield f"<p>{_text(operation['summary'])}.</p>"
    if operation["parameters"]:
        rows = [
            (
                f"<code>{one['name']}</code>",
                one["in"],
                f"{_text(one['description'])} {_values(one['schema'])}",
            )
            for one in operation["parameters"]
        ]
        yield _table(name, "Parameters", ("name", "in", ""), rows)
    body = operation.get("requestBody")
    if body:
        kinds = [(f"<code>{kind}</code>", _form(one["schema"])) for kind, one in _content(body)]
        yield _table(name, "Body", ("Content-Type", ""), kinds)
    answers = [
        (status, _text(one["description"]), _answer(one))
        for status, one in operation["responses"].items()
        if "$ref" not in one
    ]
    yield _table(name, "Answers", ("status", "", "body"), answers)
    yield from _example(path, method, operation)
    yield "</article>"


def _content(told: Json) -> Iterable[tuple[str, Json]]:
    return list(told.get("content", {}).items())


def _answer(response: Json) -> str:
    problems = response.get("x-problems", ())
    linked = [f'<a href="#problem-{name}">{name}</a>' for name in problems]
    forms = [f"<code>{kind}</code>: {_form(one['schema'])}" for kind, one in _content(response)]
    return "<br>".join(linked or forms)


def _example(path: str, method: str, operation: Json) -> Iterator[str]:
    answers = [
        one["example"] for _, one in _content(operation["responses"]["200"]) if "example" in one
    ]
    if not answers:
        return
    target = path
    for one in operation["parameters"]:
        if "example" not in one:
            continue
        if one["in"] == "path":
            target = target.replace(f"{{{one['name']}}}", one["example"])
        else:
            target += f"?{one['name']}={one['example']}"
    asked = f"{method.upper()} {target}"
    for kind, one in _content(operation.get("requestBody", {})):
        if "example" in one:
            asked += f"\nContent-Type: {kind}\n\n{_body(one['example'])}"
            break
    yield f'<pre tabindex="0"><code>{escape(asked)}</code></pre>'
    yield f'<pre tabindex="0"><code>{escape(_body(answers[0]))}</code></pre>'


def _body(example: Any) -> str:
    if isinstance(example, str):
        return example.rstrip("\n")
    indent = None if isinstance(example, list) else 2
    return json.dumps(example, ensure_ascii=False, indent=indent)


def _problems(problems: Json) -> Iterator[str]:
    yield '<section aria-labelledby="problems"><h2 id="problems">Problems</h2>'
    yield "<p>A <code>type</code> never changes its meaning: compare it as a text.</p>"
    for name, one in problems.items():
        yield f'<article aria-labelledby="problem-{name}"><h3 id="problem-{name}">{name}</h3>'
        yield f"<p><code>/docs#problem-{name}</code>, {one['status']}: {_text(one['title'])}.</p>"
        yield f"<p>{_text(one['description'])}</p></article>"
    yield "</section>"


def _schemas(schemas: Json) -> Iterator[str]:
    yield '<section aria-labelledby="schemas"><h2 id="schemas">Schemas</h2>'
    for name, schema in schemas.items():
        yield f'<article aria-labelledby="schema-{name}"><h3 id="schema-{name}">{name}</h3>'
        about = _text(schema.get("description", ""))
        if "properties" not in schema:
            yield f"<p>{_kind(schema)}. {about}</p></article>"
            continue
        if about:
            yield f"<p>{about}</p>"
        yield _table(name, "Members", ("name", "type", ""), list(_members(schema, "")))
        yield "</article>"
    yield "</section>"


def _members(schema: Json, before: str) -> Iterator[tuple[str, str, str]]:
    for name, one in schema["properties"].items():
        text = f"{_text(one.get('description', ''))} {_values(one)}".strip()
        yield f"<code>{before}{name}</code>", _kind(one), text
        below, dot = (one.get("items", {}), "[].") if one.get("type") == "array" else (one, ".")
        if "properties" in below:
            yield from _members(below, f"{before}{name}{dot}")


def _form(schema: Json) -> str:
    """What a body is like."""
    return _text(schema["description"]) if "description" in schema else _kind(schema)


def _kind(schema: Json) -> str:
    """The type that a schema asks for."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f'<a href="#schema-{name}">{name}</a>'
    if "anyOf" in schema and "type" not in schema:
        return " or ".join(map(_kind, filter(None, schema["anyOf"])))
    kinds = schema.get("type", "string")
    if kinds == "array":
        return f"array of {_kind(schema.get('items', {}))}"
    return kinds if isinstance(kinds, str) else " or ".join(kinds)


def _values(schema: Json) -> str:
    values = schema.get("enum") or schema.get("items", {}).get("enum")
    if not values:
        return ""
    shown = ", ".join(f"<code>{escape(str(value))}</code>" for value in values)
    if len(values) > _MOST_VALUES:
        return f"<details><summary>{len(values)} names</summary>{shown}</details>"
    return f"One of {shown}."


def _table(of: str, caption: str, columns: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    head = "".join(f'<th scope="col">{one}</th>' if one else "<td></td>" for one in columns)
    body = "".join(f"<tr>{''.join(f'<td>{one}</td>' for one in row)}</tr>" for row in rows)
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{caption} of {of}"><table>'
        f"<caption>{caption}</caption>"
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _text(text: str) -> str:
    """Escaped, with what stands between two backquotes as code, as CommonMark has it."""
    return re.sub(r"``(.*?)``", r"<code>\1</code>", escape(text, quote=False))
