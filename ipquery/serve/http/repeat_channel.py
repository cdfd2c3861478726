"""A connection's requests that are like the one before (:mod:`ipquery.serve.http.repeat`).

A layer of :class:`~ipquery.serve.http.channel.Channel`: it learns from what was answered,
answers what repeats it, and counts that afterwards, by what is left of the connection's requests.
Only the branch that each single repeat takes stands where reads come in, in
:meth:`~ipquery.serve.http.channel.Channel.dataReceived`.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ipquery.serve.http.connection import BY_FAST_WAY, Connection
from ipquery.serve.http.counts import ONE_OF, ONE_OF_REPEATS
from ipquery.serve.http.fast import FastWay, nothing
from ipquery.serve.http.framing import Framing
from ipquery.serve.http.guard import watched
from ipquery.serve.http.repeat import Lessons, Repeat
from ipquery.serve.http.reply import END_OF_HEAD

if TYPE_CHECKING:
    from ipquery.serve.http.site import ApiSite


class RepeatChannel(Connection):
    """See above."""

    # What each request on the fast way looks at, as in Connection.
    __slots__ = (
        "_counted_left",
        "_due_left",
        "_fast_way",
        "_learnt",
        "_lessons",
        "_read_plain",
        "_repeat",
        "_ungated",
    )

    _fast_way: FastWay
    _ungated: FastWay

    def __init__(self, site: "ApiSite", overloaded: bool, answered: int = 0) -> None:
        """See :class:`~ipquery.serve.http.connection.Connection`."""
        super().__init__(site, overloaded, answered)
        # What lives as long as the worker
        if site.fast_way is not None:
            # The one that knows the head of answers, and what answers: the same, or a gate before.
            self._ungated = self._fast_way = site.fast_way
        self._read_plain = site.plain.read
        # What lives as long as the connection: how many requests there were to be asked when
        # repeats were counted last; how many there will be when one is to be looked at, and when
        # that one came in.
        self._counted_left = self._requests_left
        self._due_left = max(self._requests_left - site.until_looked_at(), 0)
        self._begun: float | None = None
        self._lessons = Lessons(site.limits)
        # What lives until the next read: what tells that it is like the one before, whose log
        # line begins and ends so.
        self._repeat: Repeat = nothing
        self._learnt: Repeat = nothing
        self._log_client: bytes | None = None
        self._log_ending: bytes | None = None

    def _answer_whole(self, data: bytes) -> bool:
        """Answer a read that is one plain request."""
        begun = self._now()
        plain = self._read_plain(data, 0)
        if plain is None or plain[-1] != len(data):
            return False
        method, target, framing, body, _ = plain
        is_last = not framing.persists
        answer = self._fast_way.respond(method, target, framing, body, is_last)
        if answer is None:
            return False
        left = self._requests_left
        if left != self._counted_left:
            self.count_repeats()
        self._requests_left = self._counted_left = left - 1
        self._write(answer)
        tally = self._fast_way.tally
        if tally.answered % ONE_OF == 1:
            tally.measure(self._now() - begun, len(data), len(answer), ONE_OF)
        client = self._client
        if self._access_log is not None:
            client = self._client_of(framing)
            self.site.note(client, method, target, framing, answer)
        if is_last:
            self._settled_left = self._requests_left
            self._close_lingering()
            return True
        if not self._requests_left:
            self._is_resting = False
        self._learn(method, target, framing, body, client)
        return True

    def _learn(
        self, method: bytes, target: bytes, framing: Framing, body: bytes, client: bytes
    ) -> None:
        """Have the next request told by its likeness to this one, which was answered."""
        # What is learnt now may be of another kind.
        self.count_repeats()
        answered = self.site.limits.requests_per_connection - self._requests_left
        learnt = self._lessons.learn(answered, method, target, framing, body, False, self._fast_way)
        self._repeat = self._learnt = learnt if self._gate is None else watched(learnt, self._gate)
        if self._access_log is not None:
            self._log_ending = self.site.log_ending(self._lessons, framing)
            forwarding = self._forwarding
            is_same = forwarding is None or forwarding.field not in self._lessons.varying
            self._log_client = client if is_same else None

    def forget_lessons(self) -> None:
        """What was learnt may not be so any more, as what a guard goes by has changed."""
        self._repeat = self._learnt = nothing

    def _use_up_one(self) -> None:
        """One more request is answered, or begins to be, other than by a repeat."""
        self.count_repeats()
        self._requests_left = self._counted_left = max(self._requests_left - 1, 0)

    def count_repeats(self) -> None:
        """Count what was answered by repeats since the last time."""
        repeats = self._counted_left - self._requests_left
        if not repeats:
            return
        self._counted_left = self._requests_left
        kind = self._lessons.kind
        assert kind is not None
        kind.tally.answered += repeats

    def _look_at_one(self, data: bytes, found: bytes) -> None:
        """So many repeats were answered that the next one is to be looked at; or that was it,
        or no more may be asked.

        :param data: the last one, and
        :param found: what it was answered with, from behind the Date header on.
        """
        left, begun, kind = self._requests_left, self._begun, self._lessons.kind
        if not left:
            self._is_resting = False
        if begun is None:
            self._repeat, self._due_left = self._repeat_looked_at, max(left - 1, 0)
            return
        assert kind is not None
        sent = len(self._ungated.head) + len(found)
        kind.tally.measure(self._now() - begun, len(data), sent, ONE_OF_REPEATS)
        self._begun, self._due_left = None, max(left - ONE_OF_REPEATS, 0)

    def _repeat_looked_at(self, data: bytes) -> bytes | None:
        """Answer one as all others, and note when it came and what it asked for."""
        kind, self._repeat = self._lessons.kind, self._learnt
        if kind is None:
            return None
        begun = self._now()
        found = kind.look_at(self._learnt, data)
        if found is not None:
            self._begun = begun
        return found

    def _answer_repeats(self) -> bool:
        """Answer what comes next, if it is like the one before: all that are, of one portion."""
        kind, learnt = self._lessons.kind, self._learnt
        most = min(self._portion, self._requests_left)
        if kind is None or most <= 0:
            return False
        begun, data, begin = self._now(), self._unread, self._unread_at
        # Without its body, a request that has one is like none before.
        end = data.find(END_OF_HEAD, begin) + len(END_OF_HEAD)
        found, address = kind.find_noting(learnt, data[begin:end])
        asked: list[bytes] = []
        answers: list[bytes] = []
        while found is not None:
            asked.append(data[begin:end])
            answers.append(found)
            begin = end
            if len(answers) == most:
                break
            end = data.find(END_OF_HEAD, begin) + len(END_OF_HEAD)
            found = learnt(data[begin:end])
        count = len(answers)
        if not count:
            return False
        self._unread_at = begin
        self._portion -= count * BY_FAST_WAY
        self.count_repeats()
        self._requests_left = self._counted_left = self._requests_left - count
        self._outgoing.write(self._ungated.head.join([b"", *answers]))
        self._note_repeats(asked, answers)
        tally = kind.tally
        tally.answered += count
        # Their bytes are counted with all others of this read.
        tally.weighed += count
        tally.see(kind.whence(address), count)
        tally.time((self._now() - begun) / count, count)
        return True

    def _note_repeats(self, asked: Sequence[bytes], answers: Sequence[bytes]) -> None:
        if self._access_log is not None:
            for data, found in zip(asked, answers, strict=True):
                self.site.note_repeated(self._host, self._log_client, data, found, self._log_ending)
