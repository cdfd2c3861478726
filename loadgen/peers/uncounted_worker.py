"""A worker of ipquery that counts nothing on the fast way: what counting is compared with.

It is the worker there is, but for the lines of :data:`WITHOUT`. Patching what these call would
leave the calls, clock readings and additions themselves, which are most of what counting takes.
"""

import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from types import CodeType, ModuleType

_TIMED = """
        tally = self._fast_way.tally
        if tally.answered % ONE_OF == 1:
            tally.measure(self._now() - begun, len(data), len(answer), ONE_OF)
"""

WITHOUT: Sequence[tuple[str, str, str]] = (
    # Without looking at one now and then, a connection's last request is still to be known.
    (
        "ipquery.serve.http.channel",
        "if left <= self._due_left:\n                    self._look_at_one(data, found)\n",
        "if left <= 0:\n                    self._is_resting = False\n",
    ),
    ("ipquery.serve.http.channel", "        self._counts.received += len(data)\n", ""),
    (
        "ipquery.serve.http.repeat_channel",
        'plain request."""\n        begun = self._now()\n',
        'plain request."""\n',
    ),
    (
        "ipquery.serve.http.repeat_channel",
        "        if left != self._counted_left:\n            self.count_repeats()\n",
        "",
    ),
    ("ipquery.serve.http.repeat_channel", _TIMED, "\n"),
    (
        "ipquery.serve.http.repeat_channel",
        "        # What is learnt now may be of another kind.\n        self.count_repeats()\n",
        "",
    ),
    # What was never looked at is never known, and would not be learnt from.
    (
        "ipquery.serve.http.repeat",
        "if spot is None or not spot.kind.tally.is_known:",
        "if spot is None:",
    ),
    (
        "ipquery.serve.http.site",
        """
        if self._answered_first % ONE_OF_REPEATS:
            found = self._repeat(data)
        else:
            found = self._look_at_repeat(data)
""",
        "\n        found = self._repeat(data)\n",
    ),
    ("ipquery.serve.http.site", "            self._repeat_tally.answered += 1\n", ""),
    (
        "ipquery.serve.http.site",
        '''before."""
        begun = self.monotonic()
''',
        'before."""\n',
    ),
    (
        "ipquery.serve.http.site",
        """
        tally = fast_way.tally
        if tally.answered % ONE_OF == 1:
            tally.measure(self.monotonic() - begun, len(data), len(answer), ONE_OF)
""",
        "\n",
    ),
    (
        "ipquery.serve.api.express",
        """
        tally = self.tally = tallies[method]
        tally.answered += 1
        if tally.answered % ONE_OF == 1:
            tally.see(self._lookups.whence(address), ONE_OF)
""",
        "\n",
    ),
)
"""Of a module, what stands there, and what stands there instead."""


def without_counting(module: str, source: str) -> str:
    """The source of a module that counts nothing on the fast way.

    :raises ValueError: it isn't what :data:`WITHOUT` was written for.
    """
    for name, counted, uncounted in WITHOUT:
        if name != module:
            continue
        if source.count(counted) != 1:
            raise ValueError(f"{module}: this doesn't stand there once: {counted.strip()}")
        source = source.replace(counted, uncounted)
    return source


class _Loader(SourceFileLoader):
    # What is compiled isn't kept: it would be taken for the module itself.
    def get_code(self, fullname: str) -> CodeType:
        path = self.get_filename(fullname)
        source = without_counting(fullname, self.get_data(path).decode())
        return compile(source, path, "exec", dont_inherit=True)


class _Uncounted:
    """Finds the modules of :data:`WITHOUT`, and no others."""

    _names = frozenset(name for name, _, _ in WITHOUT)

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None = None,
        target: ModuleType | None = None,
    ) -> ModuleSpec | None:
        if fullname not in self._names:
            return None
        found = PathFinder.find_spec(fullname, path, target)
        if found is not None and found.origin is not None:
            found.loader = _Loader(fullname, found.origin)
        return found


def main() -> None:
    """Run a worker, as ``python -m ipquery.fleet`` does."""
    sys.meta_path.insert(0, _Uncounted())
    # Not at the top: what it imports would have been loaded as it is.
    from ipquery.fleet.__main__ import main as run

    run()


if __name__ == "__main__":
    main()
