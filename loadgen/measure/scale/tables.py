"""The tables of docs/scale.md, each computed from what was measured and what is assumed."""

import statistics
from collections.abc import Callable, Mapping
from functools import partial

import attrs

from loadgen.measure.scale.costs import (
    for_a_billion,
    hosts_for,
    rounded_up,
    site,
    spread_seconds,
)
from loadgen.measure.scale.drawing import chance_of
from loadgen.measure.scale.growth import keep_up
from loadgen.measure.scale.inputs import Assumed, Measured
from loadgen.measure.scale.outages import Outage, Outcome, simulate
from loadgen.measure.scale.queues import waiting
from loadgen.measure.scale.rollouts import canary, everywhere
from loadgen.measure.scale.words import Language, said
from loadgen.report.tables import Table
from loadgen.report.text import duration

# systemd's RestartSec in conf/systemd: what a daemon that died waits before it is started.
_RESTART_SECONDS = 1.0

# Shares of a worker that the table of loads without a rack has.
_PLANNED = (0.4, 0.5, 0.6, 0.65, 0.7, 0.8)


@attrs.frozen
class Study:
    """What is computed from, and in which language the tables are."""

    measured: Measured
    assumed: Assumed
    seed: int
    language: Language = "en"

    def said(self, text: str, **filled: object) -> str:
        """A text in the language of the tables."""
        return said(self.language, text, **filled)

    @property
    def rate(self) -> float:
        """Requests a second that all tables but that of costs are about."""
        return self.assumed.plan.requests_per_second[-1]

    @property
    def nodes(self) -> int:
        """That this rate takes, behind nginx."""
        return site(self.rate, self.measured, self.assumed.plan, nginx=True).nodes


def _percent(share: float, digits: int = 3) -> str:
    """With so many digits: shares range from a millionth to all."""
    if not share:
        return "0"
    percent = 100 * share
    return "< 0.001" if percent < 0.001 else f"{percent:.{digits}g}"


def measured(study: Study) -> Table:
    """What was measured."""
    found, say = study.measured, study.said
    times = {
        "from a start to the first answer": found.starts,
        "a worker dies: until the next answer": found.replacements,
        "reload with another snapshot": found.reloads,
    }
    rows = [
        ("processor time of a look-up, asked directly", f"{found.direct_cpu * 1e6:.1f}us"),
        ("the same behind nginx", f"{found.node_cpu * 1e6:.1f}us"),
        ("what nginx takes to pass it on", f"{found.nginx_cpu * 1e6:.1f}us"),
        ("one worker at most, requests/s", f"{found.most:,.0f}"),
        ("request and answer, bytes", f"{found.answer_bytes:,}"),
        ("snapshot, MB", f"{found.snapshot_bytes / 1e6:,.0f}"),
    ]
    return [
        [say("measured"), say("median"), say("longest")],
        *([say(what), figure, ""] for what, figure in rows),
        *(
            [say(what), duration(statistics.median(taken)), duration(max(taken))]
            for what, taken in times.items()
        ),
    ]


def loads(study: Study) -> Table:
    """How long answers take by how busy a worker is: as measured, and as the queue alone has it."""
    say = study.said
    heads = ("load, %", "p50, measured", "p99, measured", "p50, simulated", "p99, simulated")
    rows = [[*map(say, heads)]]
    for place, load in enumerate(study.measured.loads):
        chance = chance_of(study.seed, 1, place)
        found = waiting(chance, study.measured.service, load.share)
        rows.append(
            [
                f"{100 * load.share:.0f}",
                *map(duration, (load.p50, load.p99, found.p50, found.p99)),
            ]
        )
    return rows


def without_a_rack(study: Study) -> Table:
    """What becomes of a load when a rack is lost, by how busy the cores were before."""
    say, racks = study.said, study.assumed.plan.racks
    heads = (
        "planned load, %",
        "with a rack lost, of {racks}, %",
        "p99 then, simulated",
        "refused or late, %",
    )
    rows = [[say(head, racks=racks) for head in heads]]
    for place, planned in enumerate(_PLANNED):
        load = planned * racks / (racks - 1)
        row = [f"{100 * planned:.0f}", f"{100 * load:.0f}"]
        if load < 1:
            found = waiting(chance_of(study.seed, 2, place), study.measured.service, load)
            rows.append([*row, duration(found.p99), "0"])
        else:
            rows.append([*row, "", _percent(1 - 1 / load)])
    return rows


def prices(study: Study) -> Table:
    """What is assumed to be paid."""
    say = study.said
    return [
        [say("price"), say("a core, a month")],
        *(
            [say(price.name), f"{price.core_month:,.0f} {price.currency}"]
            for price in study.assumed.prices
        ),
    ]


def costs(study: Study) -> Table:
    """Cores and money."""
    say, assumed = study.said, study.assumed
    heads = (
        *("requests/s", "in front", "busy cores", "nodes of {cores} cores"),
        *("nginx hosts of {cores} cores", "cores", "Gbit/s"),
    )
    rows = [[say(head, cores=assumed.plan.cores) for head in heads]]
    rows[0] += [
        say("a month, {price:g} {currency} a core", price=one.core_month, currency=one.currency)
        for one in assumed.prices
    ]
    rows[0].append(say("a billion, {currency}", currency=assumed.prices[0].currency))
    for rate in assumed.plan.requests_per_second:
        for nginx in (False, True):
            found = site(rate, study.measured, assumed.plan, nginx)
            paid = [one.core_month * found.cores for one in assumed.prices]
            rows.append(
                [
                    f"{rate:,.0f}",
                    say("nginx" if nginx else "balancer or anycast"),
                    f"{found.node_busy + found.nginx_busy:.1f}",
                    str(found.nodes),
                    str(found.nginx_hosts) if nginx else "",
                    str(found.cores),
                    f"{found.gigabits:.2f}",
                    *(f"{month:,.0f}" for month in paid),
                    f"{for_a_billion(paid[0], rate):,.2f}",
                ]
            )
    return rows


def _outage(study: Study, outage: Outage, number: int) -> Table:
    say, plan = study.said, study.assumed.plan
    rows = [[say("in front"), say("failed, % of a minute"), say("waited, %"), say("longest wait")]]
    for place, front in enumerate(study.assumed.fronts):
        chance = chance_of(study.seed, 3, number, place)
        found: Outcome = simulate(chance, outage, front, study.rate, plan.watched_seconds)
        rows.append(
            [
                say(front.name),
                # For another seed the second digit may be another one.
                _percent(found.failed, 2),
                _percent(found.waited, 2),
                duration(found.longest) if found.longest else "",
            ]
        )
    return rows


def daemon_dies(study: Study) -> Table:
    """A daemon that is killed; it is started again."""
    back = tuple(_RESTART_SECONDS + start for start in study.measured.starts)
    return _outage(study, Outage(study.nodes, 1, silent=False, back=back), 0)


def node_lost(study: Study) -> Table:
    """A host without power, or a cut link."""
    return _outage(study, Outage(study.nodes, 1, silent=True), 1)


def rack_lost(study: Study) -> Table:
    """All hosts of a rack at once."""
    lost = study.nodes // study.assumed.plan.racks
    return _outage(study, Outage(study.nodes, lost, silent=True), 2)


def pods(study: Study) -> Table:
    """How many pods the rates take, asked directly."""
    say, assumed, found = study.said, study.assumed, study.measured
    scaler = assumed.autoscaler
    plan = attrs.evolve(assumed.plan, cores=scaler.pod_cores, utilisation=scaler.target)
    heads = ("requests/s", "pods at {target:.0f} %", "the same number in each of {racks} zones")
    rows = [[say(head, target=100 * scaler.target, racks=plan.racks) for head in heads]]
    for rate in plan.requests_per_second:
        busy = rate * (found.direct_cpu + plan.network_cpu)
        count = rounded_up(busy / scaler.target / scaler.pod_cores)
        rows.append([f"{rate:,.0f}", str(max(scaler.least, count)), str(hosts_for(busy, plan))])
    return rows


def growths(study: Study) -> Table:
    """Whether the autoscaler keeps up."""
    say, scaler = study.said, study.assumed.autoscaler
    heads = ("load grows", "pods before", "pods in the end", "highest load, %")
    rows = [[*map(say, (*heads, "seconds at 100 %", "late or failed, %"))]]
    for growth in study.assumed.growths:
        found = keep_up(scaler, growth)
        text = "{times}-fold in {minutes} min" if growth.over_seconds else "{times}-fold at once"
        rows.append(
            [
                say(text, times=f"{growth.times:g}", minutes=f"{growth.over_seconds / 60:g}"),
                str(scaler.pods),
                str(found.pods),
                f"{100 * found.utilisation:.0f}",
                f"{found.busy_seconds:.0f}",
                _percent(found.failed),
            ]
        )
    return rows


def rollouts(study: Study) -> Table:
    """A bad snapshot."""
    say, rollout = study.said, study.assumed.rollout
    heads = ("a bad snapshot", "wrong answers, % of a day", "of the unluckiest twentieth")
    rows = [[*map(say, (*heads, "gets to all nodes, %", "lasts"))]]
    rows.append([say("refused by the guard, or damaged"), "0", "0", "0", ""])
    ways = {
        "not refused: all nodes as they ask": everywhere,
        "not refused: a canary first": canary,
    }
    for place, (text, way) in enumerate(ways.items()):
        found = way(chance_of(study.seed, 4, place), rollout)
        rows.append(
            [
                say(text),
                _percent(found.mean),
                _percent(found.p95),
                _percent(found.reached),
                f"{found.lasted / 60:.0f} min",
            ]
        )
    return rows


def spreading(study: Study) -> Table:
    """How long a snapshot takes to all nodes."""
    say, assumed = study.said, study.assumed
    size = study.measured.snapshot_bytes
    rows = [[say("snapshot from"), *(say("{nodes} nodes", nodes=nodes) for nodes in assumed.fleet)]]
    for link in assumed.links:
        of = partial(spread_seconds, size, link=link, node_gigabits=assumed.node_gigabits)
        rows.append([say(link.name), *(duration(of(nodes)) for nodes in assumed.fleet)])
    return rows


TABLES: Mapping[str, Callable[[Study], Table]] = {
    "measured": measured,
    "loads": loads,
    "without-a-rack": without_a_rack,
    "prices": prices,
    "costs": costs,
    "daemon-dies": daemon_dies,
    "node-lost": node_lost,
    "rack-lost": rack_lost,
    "pods": pods,
    "growths": growths,
    "rollouts": rollouts,
    "spreading": spreading,
}
"""By the name that they have on the command line and in documents."""
