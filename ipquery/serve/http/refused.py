"""Refused: what is raised for a message that can't be answered."""

from collections.abc import Mapping

from ipquery.serve.http.reply import Reply, refusal


class Refused(Exception):
    """The message is refused, and with it all that follows on the connection."""

    def __init__(
        self,
        status: int,
        text: str | None = None,
        headers: Mapping[str, str] | None = None,
        reply: Reply | None = None,
    ) -> None:
        """
        :param text: what is wrong; without it, what the status code says.
        :param headers: fields of the answer besides those that every one has.
        :param reply: what is answered, if that isn't in the contract's shape.
        """
        super().__init__(status, text)
        self.reply = reply or refusal(status, text, headers)
