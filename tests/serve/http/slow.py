"""A resource that is slow, or never answers."""

from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request


class Slow(Resource):
    """Answers each request when the test says so, with the request's path."""

    isLeaf = True

    def __init__(self) -> None:
        super().__init__()
        self.waiting: list[Request] = []
        self.lost: list[bytes] = []

    def render(self, request: Request) -> int:
        self.waiting.append(request)
        request.notifyFinish().addErrback(lambda _: self.lost.append(request.path))
        return NOT_DONE_YET

    def answer(self) -> None:
        request = self.waiting.pop(0)
        request.setHeader(b"Content-Length", b"%d" % len(request.path))
        request.write(request.path)
        request.finish()
