"""What is told to those who run the service, where they have an address of their own."""

from collections.abc import Callable

from twisted.web.iweb import IRequest
from twisted.web.resource import IResource, Resource

from ipquery.serve.api import contract, metrics, status
from ipquery.serve.api.app import refusal_of
from ipquery.serve.http.request import path_of, send

_FIGURES = frozenset(path.encode() for path in (metrics.PATH, status.PATH))
_HEALTH = frozenset(path.encode() for path in (contract.HEALTH_PATH, contract.READY_PATH))


class _Some(Resource):
    """Some of the paths of a resource; there is nothing under the others."""

    isLeaf = True

    def __init__(self, resource: IResource, has: Callable[[bytes], bool]) -> None:
        super().__init__()
        self._resource = resource
        self._has = has

    def render(self, request: IRequest) -> int | bytes:
        """Answer a request."""
        path = path_of(request)
        if self._has(path):
            rendered: int | bytes = self._resource.render(request)
            return rendered
        return send(request, refusal_of(path, 404))


def without_figures(resource: IResource) -> IResource:
    """The routes without those that tell figures."""
    return _Some(resource, lambda path: path not in _FIGURES)


def figures_alone(resource: IResource) -> IResource:
    """Those that tell figures, and the health checks."""
    return _Some(resource, (_FIGURES | _HEALTH).__contains__)
