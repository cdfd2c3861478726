"""Requests as bytes, made beforehand in batches."""

from collections.abc import Callable
from itertools import repeat

from loadgen.send.addresses import Draw, random_of
from loadgen.send.plan import Plan

Ask = tuple[bytes, bytes, bytes | None]
"""A request, the address it asks for, and the answer that is expected: ``None`` where
there is no record, or nothing is checked."""

Find = Callable[[bytes], bytes | None]

# The longest text of an address is 45 characters.
_LONGEST = 45


class Requests:
    """Writes the requests of a plan for the addresses that are drawn."""

    def __init__(self, plan: Plan, draw: Draw) -> None:
        self._draw = draw
        self._post_share = plan.post_share
        self._chance = random_of(plan.seed, plan.number, 1)
        target = plan.target
        fields = [f"Host: {target.authority}\r\n"]
        fields += (f"{name}: {value}\r\n" for name, value in plan.headers)
        if not plan.keep_alive:
            fields.append("Connection: close\r\n")
        joint = "&" if "?" in target.path else "?"
        head = "".join(fields)
        self._get = f"GET {target.path}{joint}ip=".encode()
        self._get_tail = f" HTTP/1.1\r\n{head}\r\n".encode()
        post = f"POST {target.path} HTTP/1.1\r\n{head}".encode()
        post += b"Content-Type: application/json\r\nContent-Length: "
        # What stands before the address of a POST, by the address's length, which decides
        # Content-Length.
        around = len(b'{"ip":""}')
        self._posts = [
            post + b'%d\r\n\r\n{"ip":"' % (length + around) for length in range(_LONGEST + 1)
        ]

    def take(self, count: int, find: Find | None = None) -> list[Ask]:
        """The next requests.

        :param find: the answer that is expected for an address. It is looked up here, and
            not when the answer is in, because many in a row take half the time.
        """
        addresses = self._draw(count)
        get, tail, posts = self._get, self._get_tail, self._posts
        if not self._post_share:
            requests = [get + address + tail for address in addresses]
        else:
            methods = (self._chance.random(count) < self._post_share).tolist()
            requests = [
                posts[len(address)] + address + b'"}' if is_post else get + address + tail
                for address, is_post in zip(addresses, methods, strict=True)
            ]
        expected = repeat(None) if find is None else map(find, addresses)
        return list(zip(requests, addresses, expected, strict=False))
