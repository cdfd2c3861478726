"""The page at ``/``: plain HTML, CSS and one module of JavaScript, sent as they stand.

What it knows it asks of the API beside it. It takes nothing from elsewhere: the policy that
is sent with it has browsers refuse that, and whatever would be script in an answer.
"""

import re
from collections.abc import Mapping
from importlib.resources import files

PATH = "/"
FILES_PATH = "/page/"

_INDEX = "index.html"

HTML = b"text/html; charset=utf-8"

_TYPES = {
    "css": b"text/css; charset=utf-8",
    "html": HTML,
    "js": b"text/javascript; charset=utf-8",
    "svg": b"image/svg+xml",
}

# Content Security Policy Level 3. No inline script or style, no other host, no form that a
# browser would send by itself, and no frame of another page around it.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)

HEADERS: Mapping[str, str] = {
    "Content-Security-Policy": _POLICY,
    "Referrer-Policy": "no-referrer",
}
"""Of every answer that a browser may show."""


# The part of the page that asks for the node's figures.
_NODE = re.compile(rb'<section aria-labelledby="node-title">.*?</section>\n', re.DOTALL)


def read_files(with_figures: bool = True) -> Mapping[str, tuple[bytes, bytes]]:
    """The files by path: their content, and of what type it is.

    :param with_figures: whether figures of the node are told where the page is.
    """
    found = {
        PATH if file.name == _INDEX else FILES_PATH + file.name: (file.read_bytes(), _TYPES[ending])
        for file in files(__package__).iterdir()
        if (ending := file.name.rpartition(".")[2]) in _TYPES
    }
    if not with_figures:
        html, kind = found[PATH]
        found[PATH] = _NODE.sub(b"", html), kind
    return found
