"""What is told to those who run the service, where they have an address of their own."""

from twisted.web.iweb import IRequest
from twisted.web.resource import IResource, Resource

from ipquery.serve.api.app import refusal_of
from ipquery.serve.api.where import Where
from ipquery.serve.http.request import path_of, send


class _Some(Resource):
    """Some of the paths of a resource; there is nothing under the others."""

    isLeaf = True

    def __init__(self, resource: IResource, where: Where) -> None:
        super().__init__()
        self._resource = resource
        self._where = where

    def render(self, request: IRequest) -> int | bytes:
        """Answer a request."""
        path = path_of(request)
        if self._where.has(path.decode("latin-1")):
            rendered: int | bytes = self._resource.render(request)
            return rendered
        return send(request, refusal_of(path, 404))


def some(resource: IResource, where: Where) -> IResource:
    """The routes that are at an address."""
    return resource if where is Where.EVERYBODY else _Some(resource, where)
