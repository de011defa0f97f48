"""The benchmarks work: every workload of Retrace in a tiny size, and what is made of results."""

from __future__ import annotations

import asyncio
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import msgspec
import pytest

from tests.benchmarks import growth, nodes, page, retrace_server
from tests.benchmarks.__main__ import arguments
from tests.benchmarks.databases import Database
from tests.benchmarks.figures import Results, Runs, Value
from tests.benchmarks.http_load import Load
from tests.benchmarks.node import STEPS
from tests.benchmarks.one_run import MEASURES, Order, carry_out
from tests.benchmarks.tables import everything, ratios
from tests.benchmarks.targets import checks
from tests.benchmarks.workloads import TINY, Sizes


@pytest.fixture
def database(tmp_path):
    return Database(f"sqlite:///{tmp_path}/bench.db", None)


def by_name(values):
    return {(each.metric, each.at): each.value for each in values}


@pytest.mark.parametrize("measure", MEASURES)
def test_a_run_gives_values_that_say_how_long_it_took(measure, database):
    values = asyncio.run(carry_out(Order(measure, database, TINY)))
    assert values
    assert all(each.value > 0 for each in values)


def test_growth_is_measured_at_all_points_in_turn_three_times(monkeypatch, tmp_path):
    monkeypatch.setenv("RETRACE_BENCH_FOLDER", str(tmp_path))
    values = growth.w5("sqlite", None, TINY)
    assert all(each.value > 0 for each in values)
    points = [each.at for each in values if each.metric == "cpu_us"]
    assert points == [f"{what} {count}" for what in ("finished", "parked") for _ in range(3) for count in TINY.growth]


def starts_one_by_one(starts, connections, load_s):
    """A load of eight starts over HTTP, for a machine that has no wrk."""

    def one(_):
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(starts.url, starts.body.encode(), headers)
        with urllib.request.urlopen(request, timeout=30) as response:
            return response.status

    with ThreadPoolExecutor(connections) as threads:
        answers = list(threads.map(one, range(8)))
    assert set(answers) == {201}
    return Load(len(answers), 0, 0, load_s, 1.0, 1.0)


def test_starts_over_http_have_all_ended_when_the_clock_stops(database):
    values = by_name(retrace_server.serve(database.url, TINY, starts_one_by_one))
    assert values["accepted_per_s", ""] == 8 / TINY.load_s
    assert values["ended_after_s", ""] < 30


def test_a_node_in_a_process_of_its_own_does_its_share(database):
    with nodes.spread(database.url, 1) as (started, partitions, lease_s):
        answer = started[0].ask("sagas", definition=STEPS, count=4, at_once=2)
        assert answer["ended"] > answer["began"]
        assert started[0].ask("unfinished") == {"unfinished": False}
        assert (partitions, lease_s) == (16, 10.0)


def results(**rates):
    runs = Runs()
    for system, values in rates.items():
        for value in values:
            runs.add("w1", system.replace("_", "-"), [Value("sagas_per_s", value), Value("p50_ms", 1000 / value)])
    names = {name.replace("_", "-"): "" for name in rates}
    return Results(command="", began_at="", machine={}, systems=names, sizes={}, figures=runs.figures())


def test_the_median_of_all_runs_is_told_and_every_run_is_kept():
    found = results(retrace_sqlite=[3.0, 1.0, 2.0])
    assert found.of("w1", "retrace-sqlite", "sagas_per_s") == 2.0
    assert found.figures[0].runs == [3.0, 1.0, 2.0]
    assert found.of("w1", "dbos", "sagas_per_s") is None


@pytest.mark.parametrize(("rate", "holds"), [(500.0, True), (499.0, False)])
def test_a_target_holds_against_the_better_of_the_sdks(rate, holds):
    found = results(retrace_postgresql=[rate], restate_python=[50.0], restate_typescript=[100.0])
    target = next(each for each in checks(None, found) if "PostgreSQL: at least 5 x" in each.target)
    assert target.holds is holds


def test_a_target_that_was_not_measured_is_neither_met_nor_missed():
    found = results(retrace_postgresql=[500.0])
    assert {each.holds for each in checks(None, found)} == {None}


def test_ratios_are_above_one_where_retrace_does_better_also_in_time():
    shown = ratios(results(retrace_postgresql=[400.0], dbos=[100.0]))
    assert "| DBOS, coroutines | - / 4.0 / - | - / 4.0 / - |" in shown


def test_the_page_keeps_what_people_wrote_and_takes_new_results():
    text = f"# Words\n\n{page.BEGIN}\nsuperseded\n{page.END}\n\nmore words\n"
    found = results(retrace_postgresql=[400.0])
    shown = page.written(text, page.region(None, found, []))
    assert shown.startswith("# Words\n")
    assert shown.endswith("more words\n")
    assert everything(found) in shown
    assert "superseded" not in shown
    with pytest.raises(ValueError, match="results"):
        page.written("# Words", "new")


def test_results_are_read_back_as_they_were_written(tmp_path):
    found = results(retrace_postgresql=[400.0, 300.0])
    page.keep(found, "some.json", tmp_path)
    assert page.kept("some.json", tmp_path) == found
    assert page.kept("other.json", tmp_path) is None


def test_only_a_complete_measurement_is_written_up_by_itself():
    assert arguments([]).page
    assert arguments(["--peers"]).page
    assert not arguments(["--quick"]).page
    assert not arguments(["--workload", "w1"]).page
    assert arguments(["--quick", "--page"]).page


def test_the_page_of_the_documentation_has_the_markers():
    page.written(page.PAGE.read_text(encoding="utf-8"), "")


def test_sizes_reach_a_measuring_process_as_they_were_chosen():
    order = Order("w1", Database("sqlite:///x.db", None), TINY)
    assert msgspec.convert(msgspec.to_builtins(order), Order) == order
    assert TINY.sagas < Sizes().sagas
