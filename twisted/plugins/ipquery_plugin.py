"""What twistd learns of ipquery. Data only: an import error here would show
as "Unknown command: ipquery" and nothing else."""

from twisted.application.reactors import Reactor
from twisted.application.service import ServiceMaker

ipquery = ServiceMaker(
    "ipquery",
    "ipquery.tap",
    "Answers where an IP address is and whose it is, over HTTP.",
    "ipquery",
)

uvloop = Reactor(
    "uvloop",
    "ipquery.net.reactor",
    "asyncio reactor on uvloop; ipquery's sockets are the loop's own on it.",
)
