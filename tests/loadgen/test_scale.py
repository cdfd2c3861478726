"""The simulation of docs/scale.md, against what is known without simulating."""

from pathlib import Path

import attrs
import numpy as np
import pytest
import yaml
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from loadgen.measure.scale.__main__ import SEED, main
from loadgen.measure.scale.costs import for_a_billion, hosts_for, site, spread_seconds
from loadgen.measure.scale.documents import UnknownTable, language_of, with_tables
from loadgen.measure.scale.drawing import chance_of
from loadgen.measure.scale.growth import keep_up, wanted
from loadgen.measure.scale.inputs import (
    ASSUMED,
    MEASURED,
    Front,
    Growth,
    InputError,
    Link,
    read_assumed,
    read_measured,
)
from loadgen.measure.scale.outages import Outage, simulate
from loadgen.measure.scale.queues import waiting, waits
from loadgen.measure.scale.rollouts import DAY, canary, everywhere
from loadgen.measure.scale.tables import TABLES, Study
from loadgen.measure.scale.words import said

REPOSITORY = Path(__file__).parents[2]
DOCUMENTS = (REPOSITORY / "docs/scale.md", REPOSITORY / "docs/scale.zh-CN.md")
MEASURES, ASSUMES = read_measured(), read_assumed()
PLAN, ROLLOUT, SCALER = ASSUMES.plan, ASSUMES.rollout, ASSUMES.autoscaler
FRONTS = {front.name: front for front in ASSUMES.fronts}
NGINX = FRONTS["nginx"]
MINUTE = 60.0


@given(
    st.lists(
        st.tuples(st.floats(0, 10), st.floats(0, 10)),
        min_size=1,
        max_size=30,
    )
)
def test_waits_are_those_of_one_request_after_the_other(drawn: list[tuple[float, float]]) -> None:
    service, gaps = (np.array(column) for column in zip(*drawn, strict=True))
    expected, wait = [], 0.0
    for number in range(len(drawn)):
        if number:
            wait = max(0.0, wait + service[number - 1] - gaps[number])
        expected.append(wait)
    assert waits(service, gaps) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("utilisation", [0.3, 0.6, 0.8])
def test_a_queue_of_equal_requests_waits_as_pollaczek_and_khinchine_say(utilisation: float) -> None:
    # M/D/1: the mean wait is half of utilisation / (1 - utilisation) times the service.
    found = waiting(chance_of(1), [1.0], utilisation, 1_000_000)
    assert found.mean - 1 == pytest.approx(utilisation / (1 - utilisation) / 2, rel=0.05)


def test_a_queue_of_unequal_requests_waits_as_pollaczek_and_khinchine_say() -> None:
    service = [1.0] * 99 + [50.0]
    mean, square = np.mean(service), np.mean(np.square(service))
    rate = 0.5 / mean
    found = waiting(chance_of(1), service, 0.5, 2_000_000)
    assert found.mean - mean == pytest.approx(rate * square / 2 / (1 - 0.5), rel=0.05)


def test_a_queue_of_exponential_requests_has_exponential_times() -> None:
    # M/M/1: the time in the system is exponential with the mean service / (1 - utilisation).
    # The service is drawn from the quantiles of an exponential distribution.
    service = -np.log1p(-(np.arange(20_000) + 0.5) / 20_000)
    found = waiting(chance_of(1), [*service], 0.5, 2_000_000)
    mean = 1 / (1 - 0.5)
    assert found.mean == pytest.approx(mean, rel=0.03)
    assert found.p50 == pytest.approx(mean * np.log(2), rel=0.03)
    assert found.p99 == pytest.approx(mean * np.log(100), rel=0.05)


@pytest.mark.parametrize("name", ["cloud load balancer", "anycast, BFD", "Kubernetes Service"])
def test_where_nobody_asks_again_what_is_sent_to_the_dead_fails_until_they_are_noticed(
    name: str,
) -> None:
    front = FRONTS[name]
    # Noticed at once for all requests, so that there is nothing by chance but who is sent there.
    exact = attrs.evolve(front, silent=(sum(front.silent) / 2,) * 2)
    found = simulate(chance_of(1), Outage(5, 1, silent=True), exact, 1e6, MINUTE, 20, 50_000)
    assert found.failed == pytest.approx(sum(front.silent) / 2 / MINUTE / 5, rel=0.05)
    assert (found.waited, found.longest) == (0, 0)


def test_who_keeps_an_address_asks_the_dead_for_half_of_the_time_to_live_more() -> None:
    front = Front("DNS", hosts=5000, silent=(10, 10), lingers=20)
    found = simulate(chance_of(1), Outage(4, 1, silent=True), front, 1e6, MINUTE)
    assert found.failed == pytest.approx((10 + 20 / 2) / MINUTE / 4, rel=0.05)


def test_of_a_rack_a_share_like_that_of_its_nodes_fails() -> None:
    front = Front("balancer", hosts=1, silent=(6, 6))
    found = simulate(chance_of(1), Outage(9, 3, silent=True), front, 1e6, MINUTE)
    assert found.failed == pytest.approx(6 / MINUTE / 3, rel=0.05)


def test_nginx_asks_another_node_so_that_nothing_fails_and_some_wait() -> None:
    found = simulate(chance_of(1), Outage(6, 1, silent=True), NGINX, 1e6, MINUTE)
    # All that came for this node within the first second, and then one request of each nginx
    # every 6 s: 5 s later it is asked, for 1 s.
    probes = NGINX.hosts * 9
    assert found.failed == 0
    assert found.waited == pytest.approx(1 / MINUTE / 6 + probes / (1e6 * MINUTE), rel=0.05)
    assert found.longest == NGINX.silence


def test_a_refused_connection_costs_nothing_where_another_node_is_asked() -> None:
    found = simulate(chance_of(1), Outage(6, 2, silent=False), NGINX, 1e6, MINUTE)
    assert (found.failed, found.waited, found.longest) == (0, 0, 0)


def test_a_node_that_is_back_before_it_is_noticed_fails_no_more() -> None:
    front = Front("balancer", hosts=1, refused=(30, 30))
    outage = Outage(4, 1, silent=False, back=(3.0,))
    assert simulate(chance_of(1), outage, front, 1e6, MINUTE).failed == pytest.approx(
        3 / MINUTE / 4, rel=0.05
    )


def test_with_fewer_tries_than_dead_nodes_some_requests_fail() -> None:
    # Two tries, nothing noticed: both fall on the 3 dead ones of 6.
    front = Front("proxy", hosts=1, tries=2, silence=0.1, silent=(1e9, 1e9))
    found = simulate(chance_of(1), Outage(6, 3, silent=True), front, 1e6, MINUTE)
    assert found.failed == pytest.approx(3 / 6 * 2 / 5, rel=0.05)
    assert found.waited == pytest.approx(3 / 6 * 3 / 5, rel=0.05)


@given(
    st.integers(2, 8),
    st.integers(1, 8),
    st.sampled_from(ASSUMES.fronts),
    st.booleans(),
    st.integers(0, 100),
)
def test_shares_are_shares(nodes: int, lost: int, front: Front, silent: bool, seed: int) -> None:
    outage = Outage(nodes, min(lost, nodes - 1), silent)
    found = simulate(chance_of(seed), outage, front, 1e5, MINUTE, events=2, count=1000)
    assert 0 <= found.failed <= 1
    assert 0 <= found.waited <= 1
    assert found.failed + found.waited <= outage.lost / nodes * 1.5 + 0.1


@given(st.floats(0.01, 1e4), st.integers(2, 6), st.integers(1, 64))
def test_hosts_are_enough_whichever_rack_is_lost_and_no_more_than_needed(
    busy: float, racks: int, cores: int
) -> None:
    plan = attrs.evolve(PLAN, racks=racks, cores=cores)
    hosts = hosts_for(busy, plan)
    needed = max(
        busy / cores / plan.utilisation,
        busy / cores / plan.utilisation_without_a_rack * racks / (racks - 1),
    )
    assert hosts % racks == 0
    # But for what rounding makes of it.
    assert hosts >= needed - racks * 2e-6
    assert hosts == racks or hosts - racks < needed


def test_cores_and_money() -> None:
    measured = attrs.evolve(
        MEASURES, direct_cpu=7e-6, node_cpu=17e-6, nginx_cpu=34e-6, answer_bytes=500
    )
    plan = attrs.evolve(PLAN, cores=8)
    direct, behind = (site(1e6, measured, plan, nginx) for nginx in (False, True))
    # And 3 us for the network, of which nginx has two sides.
    # 10 busy cores: half of 24 is enough, and two of three racks have 16.
    assert (direct.nodes, direct.nginx_hosts, direct.cores) == (3, 0, 24)
    # 20 and 40: 6 nodes, and 12 hosts with nginx (10 would not be the same in each rack).
    assert (behind.nodes, behind.nginx_hosts, behind.cores) == (6, 12, 144)
    assert direct.gigabits == pytest.approx(4)
    assert for_a_billion(2_629_800, 1e6) == pytest.approx(1000)


def test_a_snapshot_takes_as_long_as_the_narrower_end() -> None:
    assert spread_seconds(125_000_000, 100, Link("one", 10, 1), 10) == pytest.approx(10)
    assert spread_seconds(125_000_000, 100, Link("three", 10, 3), 10) == pytest.approx(10 / 3)
    assert spread_seconds(125_000_000, 100, Link("many", 10, 0), 10) == pytest.approx(0.1)


def test_everywhere_is_wrong_until_callers_notice() -> None:
    found = everywhere(chance_of(1), ROLLOUT)
    # From when a node takes it, half the interval before the last does in the mean, which comes
    # at its end; until it takes the old one back, half an interval after that is decided.
    late = (ROLLOUT.every + ROLLOUT.jitter) / 2
    last = ROLLOUT.every + ROLLOUT.jitter / 2
    seconds = last - late + ROLLOUT.noticed + ROLLOUT.decided + late
    assert found.mean == pytest.approx(ROLLOUT.wrong * seconds / DAY, rel=0.03)
    assert found.p95 > found.mean
    assert found.reached == 1


def test_a_canary_that_is_watched_well_harms_by_its_share_only() -> None:
    rollout = attrs.evolve(ROLLOUT, found=1.0, canaries=5)
    found = canary(chance_of(1), rollout)
    seconds = rollout.watched / 2 + rollout.decided
    assert found.mean == pytest.approx(rollout.wrong * seconds * 5 / rollout.nodes / DAY, rel=0.03)
    assert found.reached == 0


def test_a_canary_that_nobody_watches_is_later_and_no_better() -> None:
    rollout = attrs.evolve(ROLLOUT, found=0.0)
    found, without = canary(chance_of(1), rollout), everywhere(chance_of(2), rollout)
    assert found.reached == 1
    assert found.mean == pytest.approx(without.mean, rel=0.05)


def test_the_autoscaler_counts_pods_as_kubernetes_does() -> None:
    assert wanted(SCALER, 4, 0.54) == 4
    assert wanted(SCALER, 4, 0.75) == 6
    assert wanted(SCALER, 4, 1.0) == 8
    assert wanted(attrs.evolve(SCALER, most=5), 4, 1.0) == 5
    # The limit for growing: at a target of a tenth it would be 40.
    assert wanted(attrs.evolve(SCALER, target=0.1, most=100), 4, 1.0) == 8


def test_a_load_below_what_is_kept_free_loses_nothing() -> None:
    found = keep_up(SCALER, Growth(1.5, 0))
    assert found.utilisation == pytest.approx(0.75)
    assert (found.busy_seconds, found.failed) == (0, 0)
    assert found.pods == 5


def test_a_load_beyond_the_pods_fails_until_there_are_more() -> None:
    found = keep_up(attrs.evolve(SCALER, most=SCALER.pods), Growth(4, 0))
    # 3 pods for what takes 6; one second's worth waits.
    assert found.failed == pytest.approx(0.5, abs=0.01)
    assert found.utilisation == 1


def test_the_autoscaler_is_that_of_conf() -> None:
    file = REPOSITORY / "conf/kubernetes/autoscaler.yaml"
    spec = yaml.safe_load(file.read_text("utf-8"))["spec"]
    assert (spec["minReplicas"], spec["maxReplicas"]) == (SCALER.least, SCALER.most)
    target = spec["metrics"][0]["resource"]["target"]["averageUtilization"]
    assert target == 100 * SCALER.target
    assert spec["behavior"]["scaleUp"] == {"stabilizationWindowSeconds": 0}
    deployment = yaml.safe_load((file.parent / "deployment.yaml").read_text("utf-8"))
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    assert container["resources"]["requests"]["cpu"] == str(SCALER.pod_cores)


def test_nginx_is_that_of_conf() -> None:
    site, nodes = (
        (REPOSITORY / f"conf/nginx/{name}.conf").read_text() for name in ("nginx", "nodes")
    )
    assert f"proxy_read_timeout {NGINX.silence:g}s;" in site
    assert f"proxy_next_upstream_tries {NGINX.tries};" in site
    assert f"proxy_next_upstream_timeout {NGINX.gives_up:g}s;" in site
    assert f"max_fails={NGINX.failures} fail_timeout={NGINX.left_alone:g}s;" in nodes


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_the_tables_of_the_documents_are_what_the_command_computes(document: Path) -> None:
    text = document.read_text("utf-8")
    study = Study(MEASURES, ASSUMES, SEED, language_of(document))
    assert with_tables(text, study) == text
    for name in TABLES:
        assert f"<!-- scale: {name} -->" in text


def test_every_word_of_the_tables_is_known_in_chinese() -> None:
    def words(language: str) -> set[str]:
        study = Study(MEASURES, ASSUMES, SEED, "zh" if language == "zh" else "en")
        tables = (TABLES[name](study) for name in ("measured", "prices", "costs", "spreading"))
        return {cell for table in tables for row in table for cell in (*row[:2], *table[0])}

    both = {one for one in words("en") & words("zh") if any(map(str.isalpha, one))}
    assert both <= {"nginx", "Gbit/s", *(f"{x}" for x in both if x[0].isdigit())}
    assert said("zh", "a name of one's own") == "a name of one's own"


def _run(*arguments: str | Path) -> str:
    done = CliRunner().invoke(main, [*map(str, arguments)])
    assert done.exit_code == 0, done.output
    return done.output


def test_the_command_says_the_same_for_the_same_seed() -> None:
    shown = _run("--only", "rack-lost")
    assert shown == _run("--only", "rack-lost")
    assert shown != _run("--only", "rack-lost", "--seed", "2")
    assert MEASURES.provenance in shown


def test_the_command_takes_figures_of_ones_own(tmp_path: Path) -> None:
    mine = tmp_path / "mine.toml"
    text = _run("--print-assumed")
    assert text == ASSUMED.read_text("utf-8")
    mine.write_text(text.replace("core_month = 30", "core_month = 60"), "utf-8")
    assert "60 USD" in _run("--assumed", mine, "--only", "prices")


def test_the_command_writes_tables_into_a_document(tmp_path: Path) -> None:
    document = tmp_path / "of-mine.zh-CN.md"
    document.write_text("before\n<!-- scale: prices -->\nold\n<!-- end -->\nafter\n", "utf-8")
    _run("--write", document)
    text = document.read_text("utf-8")
    assert text.startswith("before\n<!-- scale: prices -->\n| 价格 |")
    assert text.endswith(" |\n<!-- end -->\nafter\n")
    study = Study(MEASURES, ASSUMES, SEED)
    with pytest.raises(UnknownTable, match="nothing"):
        with_tables("<!-- scale: nothing -->\n\n<!-- end -->", study)


@pytest.mark.parametrize(
    ("before", "after", "complaint"),
    [
        ("racks = 3", "racks = 1", "racks"),
        ("utilisation = 0.5", "utilisation = 1.5", "utilisation"),
        ("silent = [4.0, 8.0]", "silent = [8.0, 4.0]", "silent"),
        ("cores = 4", "cores = 4\nscores = 4", "scores"),
        ("racks = 3", "racks = ", "Invalid value"),
    ],
)
def test_wrong_figures_are_refused_in_a_line(
    tmp_path: Path, before: str, after: str, complaint: str
) -> None:
    mine = tmp_path / "mine.toml"
    text = ASSUMED.read_text("utf-8")
    assert before in text
    mine.write_text(text.replace(before, after, 1), "utf-8")
    with pytest.raises(InputError, match=complaint) as raised:
        read_assumed(mine)
    assert str(mine) in str(raised.value)
    assert "\n" not in str(raised.value)
    done = CliRunner().invoke(main, ["--assumed", str(mine)])
    assert (done.exit_code, done.output.count("\n")) == (1, 1)


def test_measured_figures_say_where_they_are_from() -> None:
    assert "python -m loadgen.bench.scale" in MEASURES.provenance
    assert MEASURED.read_text("utf-8").count("loadgen.bench.scale") == 2
    with pytest.raises(InputError, match="nowhere.toml"):
        read_measured(Path("nowhere.toml"))
