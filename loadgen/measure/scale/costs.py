"""Cores and money: how many nodes a rate takes, what they cost, how a snapshot gets to them."""

import math

import attrs

from loadgen.measure.scale.inputs import Link, Measured, Plan

_MONTH_SECONDS = 365.25 / 12 * 86_400


@attrs.frozen
class Site:
    """What a rate takes."""

    node_busy: float
    """Cores that look-ups keep busy at this rate, in all nodes."""
    nodes: int
    nginx_busy: float
    nginx_hosts: int
    cores: int
    """That there are, of nodes and of hosts with nginx."""
    gigabits: float
    """A second, of requests and answers."""


def hosts_for(busy: float, plan: Plan) -> int:
    """How many hosts are needed for so many busy cores, the same number in each rack.

    Whichever rack is lost, the others carry the load.
    """
    all_there = busy / (plan.utilisation * plan.cores) / plan.racks
    one_lost = busy / (plan.utilisation_without_a_rack * plan.cores) / (plan.racks - 1)
    return plan.racks * max(1, rounded_up(max(all_there, one_lost))) if busy else 0


def rounded_up(count: float) -> int:
    """The next whole number of hosts, or pods."""
    # Less than a millionth above a whole number is what rounding has made of it.
    return math.ceil(count - 1e-6)


def site(rate: float, measured: Measured, plan: Plan, nginx: bool) -> Site:
    """What a rate takes, with nginx in front of the nodes or without."""
    node_cpu = measured.node_cpu if nginx else measured.direct_cpu
    node_busy = rate * (node_cpu + plan.network_cpu)
    # nginx has the caller on one side, and the node on the other.
    nginx_busy = rate * (measured.nginx_cpu + 2 * plan.network_cpu) if nginx else 0.0
    nodes, hosts = hosts_for(node_busy, plan), hosts_for(nginx_busy, plan)
    return Site(
        node_busy,
        nodes,
        nginx_busy,
        hosts,
        (nodes + hosts) * plan.cores,
        rate * measured.answer_bytes * 8 / 1e9,
    )


def for_a_billion(a_month: float, rate: float) -> float:
    """The price of a billion requests.

    :param a_month: what the site costs.
    :param rate: that it has all day.
    """
    return a_month / (rate * _MONTH_SECONDS) * 1e9


def spread_seconds(size: int, nodes: int, link: Link, node_gigabits: float) -> float:
    """How long a snapshot takes to all nodes, at best: the narrower of both ends counts."""
    bits = size * 8 / 1e9
    served = bits * nodes / (link.gigabits * link.servers) if link.servers else 0.0
    return max(served, bits / node_gigabits)
