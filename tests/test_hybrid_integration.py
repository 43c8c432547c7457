"""The whole hybrid store on one machine: does it keep its promises, and how fast is it?

    python tests/test_hybrid_integration.py --users 10000 --queries 1000 [--json FILE]

Five sections on the real product, one after the other: initialization and health, bulk enrollment, strategy
comparison, concurrent operations, statistics. The ledger, the embedded Qdrant engine and FAISS are real;
the embeddings are synthetic: random directions for people, three templates each that have a cosine of about
0.72 to each other. The settings are those of the environment, except that data goes to a directory of its
own and a configured Qdrant server is left alone.

Exit status: 0 when every promise is kept, 1 when one is broken (it is named), 2 when the suite cannot start.
"""

from __future__ import annotations

import argparse
import json
import logging
import platform
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from core.config.settings import Settings, load_settings
from core.domain.errors import RobiError, StartError
from core.domain.search import Candidate, Decision, SearchResult, SearchTimings, Source, Strategy
from core.services.service import RobiService
from dashboard.shared.resources import close_resources, get, open_resources
from tests.hybrid.beginning import enrollment, initialization
from tests.hybrid.comparison import comparison
from tests.hybrid.people import Truth, agrees
from tests.hybrid.report import Promise, Section, as_data, progress, show
from tests.hybrid.run import Run
from tests.hybrid.statistics import statistics
from tests.hybrid.traffic import concurrency

if TYPE_CHECKING:
    import pytest

FEWEST = 20  # people and queries; fewer leave nothing to compare

Step = Callable[[Run], Section]
STEPS: tuple[Step, ...] = (initialization, enrollment, comparison, concurrency, statistics)


def perform(run: Run, steps: Sequence[Step] = STEPS) -> Iterator[Section]:
    """Each section as soon as it is through."""
    for step in steps:
        try:
            section = step(run)
        except RobiError as problem:
            broken = Promise("The section runs to its end", kept=False, found=f"{problem.code}: {problem}")
            section = Section(step.__name__.capitalize(), (broken,), {})
        yield section


# ---------------------------------------------------------------- on the command line


def main(arguments: Sequence[str] | None = None, steps: Sequence[Step] = STEPS) -> int:
    chosen = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.ERROR)
    try:
        with _product(chosen.data_dir) as (service, open_seconds):
            return _report(chosen, service, open_seconds, steps)
    except StartError as problem:
        print(f"Cannot start: {problem}", file=sys.stderr)
        return 2


def _report(
    chosen: argparse.Namespace, service: RobiService, open_seconds: float, steps: Sequence[Step]
) -> int:
    pack = service.engine.pack
    print(f"{chosen.users} users, {chosen.queries} queries, seed {chosen.seed}")
    print(f"Synthetic embeddings of {pack.dimension} numbers; opened in {open_seconds:.2f} s", flush=True)
    started = time.perf_counter()
    run = Run.of(service, chosen.users, chosen.queries, chosen.seed, progress)
    sections: list[Section] = []
    for section in perform(run, steps):
        sections.append(section)
        print(show(section), flush=True)
    seconds = time.perf_counter() - started
    broken = [promise for section in sections for promise in section.broken]
    kept = sum(len(section.promises) for section in sections) - len(broken)
    print(f"\n{kept} promises kept, {len(broken)} broken, in {seconds:.1f} s (seed {chosen.seed})")
    for promise in broken:
        print(f"  BROKEN  {promise.words}: {promise.found}")
    if chosen.json:
        figures = {"open_seconds": round(open_seconds, 3), "seconds": round(seconds, 1)}
        chosen.json.write_text(_as_json(chosen, service.settings, figures, sections), encoding="utf-8")
    return 1 if broken else 0


@contextmanager
def _product(data_dir: Path | None) -> Iterator[tuple[RobiService, float]]:
    """The product opened as `python -m dashboard` opens it, on an empty directory, and the seconds it took.

    Raises:
        StartError: a setting is wrong, or the directory holds a gallery already.
    """
    with ExitStack() as stack:
        folder = data_dir or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="robi-")))
        if (folder / "ledger.db").exists():
            raise StartError(
                "data_dir_in_use", f"{folder} holds a gallery already.", "Use another --data-dir."
            )
        own = {"robi_data_dir": folder, "qdrant_url": "", "faiss_enabled": True}
        started = time.perf_counter()
        open_resources(load_settings().model_copy(update=own))
        stack.callback(close_resources)
        yield get().service, time.perf_counter() - started


def _as_json(
    chosen: argparse.Namespace, settings: Settings, figures: dict[str, Any], sections: Sequence[Section]
) -> str:
    content = {
        "users": chosen.users,
        "queries": chosen.queries,
        "seed": chosen.seed,
        "kept": not any(section.broken for section in sections),
        "machine": {"system": platform.platform(), "python": platform.python_version()},
        "faiss_index_type": settings.faiss_index_type,
        "faiss_cache_size": settings.faiss_cache_size,
        **figures,
        "sections": as_data(sections),
    }
    return json.dumps(content, indent=2, default=str) + "\n"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--users", type=_number, default=10_000, help="people to enroll (10000)")
    parser.add_argument("--queries", type=_number, default=1000, help="probes for each strategy (1000)")
    parser.add_argument("--seed", type=int, default=20, help="of everything random (20)")
    parser.add_argument("--data-dir", type=Path, help="an empty directory to keep (a temporary one)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures to FILE")
    return parser


def _number(text: str) -> int:
    number = int(text)
    if number < FEWEST:
        raise argparse.ArgumentTypeError(f"must be at least {FEWEST}")
    return number


# ---------------------------------------------------------------- under pytest, small


def sections(service: RobiService, *steps: Step, users: int = 200, queries: int = 100) -> list[Section]:
    return list(perform(Run.of(service, users, queries, seed=20), steps))


def broken(section: Section) -> dict[str, str]:
    return {promise.words: promise.found for promise in section.broken}


def test_initialization(service: RobiService) -> None:
    assert broken(*sections(service, initialization)) == {}


def test_bulk_enrollment(service: RobiService) -> None:
    assert broken(*sections(service, enrollment)) == {}


def test_strategy_comparison(service: RobiService) -> None:
    assert broken(sections(service, enrollment, comparison)[-1]) == {}


def test_strategy_comparison_with_a_gallery_larger_than_the_cache(
    make_service: Callable[..., RobiService],
) -> None:
    small = make_service(faiss_cache_size=300)
    assert [broken(section) for section in sections(small, enrollment, comparison)] == [{}, {}]


def test_concurrent_operations(service: RobiService) -> None:
    assert broken(sections(service, enrollment, concurrency)[-1]) == {}


def test_statistics(service: RobiService) -> None:
    assert broken(sections(service, *STEPS)[-1]) == {}


# The suite itself can fail: something is done behind its back, and it must say which promise that breaks.

NOTHING = Section("Behind the back", (), {})


def lose_a_person(run: Run) -> Section:
    database = sqlite3.connect(run.service.settings.robi_data_dir / "ledger.db")
    with closing(database), database:
        (number,) = database.execute("SELECT id FROM people WHERE user_id = 'person-7'").fetchone()
        database.execute("DELETE FROM templates WHERE person_id = ?", (number,))
        database.execute("DELETE FROM people WHERE id = ?", (number,))
    return NOTHING


def revive_a_person(run: Run) -> Section:
    user_id, templates = next(iter(run.people))
    run.erase(user_id)
    run.enroll(user_id, templates)
    return NOTHING


def do_more_than_is_accounted_for(run: Run) -> Section:
    run.service.people.update("person-1", name="Somebody Else")
    run.service.matching.search(run.people.probes[0], strategy=Strategy.HYBRID)
    return NOTHING


def alter_a_vector(run: Run) -> Section:
    """Between the ledger's transaction and its file: everybody gets the first person's vectors."""
    database = sqlite3.connect(run.service.settings.robi_data_dir / "ledger.db")
    with closing(database), database:
        database.execute(
            "CREATE TRIGGER alike AFTER INSERT ON templates WHEN NEW.id > 1 BEGIN UPDATE templates"
            " SET vector = (SELECT vector FROM templates WHERE id = 1) WHERE id = NEW.id; END"
        )
    return NOTHING


def test_a_ledger_row_lost_behind_the_store_is_a_broken_promise(service: RobiService) -> None:
    steps = (enrollment, lose_a_person, comparison, statistics)
    _, _, compared, counted = sections(service, *steps, users=20)
    assert {f"{s} puts the person of a known probe first" for s in Strategy} <= broken(compared).keys()
    missing = "The ledger holds exactly who should be there, by their last names"
    assert broken(counted)[missing] == "person-7"


def test_an_altered_vector_is_a_broken_promise(service: RobiService) -> None:
    _, enrolled = sections(service, alter_a_vector, enrollment, users=20)
    assert "The ledger holds every template as it was given" in broken(enrolled)


def test_an_erased_person_who_is_back_is_a_broken_promise(service: RobiService) -> None:
    *_, rush = sections(service, enrollment, revive_a_person, concurrency, users=20)
    assert "person-0" in broken(rush)["No erased person is ever returned"]


def test_numbers_that_differ_from_what_was_done_are_broken_promises(service: RobiService) -> None:
    *_, counted = sections(service, enrollment, do_more_than_is_accounted_for, statistics, users=20)
    found = broken(counted)
    assert found["/stats counts the searches of each strategy"] == "hybrid 1 instead of 0"
    assert found["The ledger holds exactly who should be there, by their last names"] == "person-1"
    assert "robi_search_seconds_count hybrid 1.0 instead of 0" in found["Prometheus gets the same numbers"]
    assert "1 renamed instead of 0" in found["The events tell of every enrollment, renaming and erasure"]


def test_agreement_with_the_exact_search_allows_ties_and_nothing_else() -> None:
    def result(*people: tuple[str, float], decision: Decision = Decision.REVIEW) -> SearchResult:
        candidates = tuple(Candidate(u, u, s, Source.BOTH, 1) for u, s in people)
        timings = SearchTimings(1.0)
        return SearchResult(candidates, decision, Strategy.HYBRID, 0.4, ("faiss",), (), False, timings)

    truth = Truth((("a", 0.6), ("b", 0.5998), ("c", 0.1)), Decision.REVIEW)
    assert agrees(result(("a", 0.6), ("b", 0.5998)), truth, 0.36)
    assert agrees(result(("b", 0.5998), ("a", 0.6), ("z", 0.0)), truth, 0.36)
    assert not agrees(result(("a", 0.6)), truth, 0.36)
    assert not agrees(result(("a", 0.6), ("c", 0.5998)), truth, 0.36)
    assert not agrees(result(("a", 0.62), ("b", 0.5998)), truth, 0.36)
    assert not agrees(result(("a", 0.6), ("b", 0.5998), decision=Decision.MATCH), truth, 0.36)


def small(folder: Path, pack_dir: Path) -> list[str]:
    """Arguments for a small run on a directory in which the face pack is built already."""
    folder.mkdir()
    (folder / "packs").symlink_to(pack_dir / "packs")
    return ["--users", "20", "--queries", "20", "--data-dir", str(folder)]


def test_the_command_writes_all_figures_and_refuses_to_touch_a_gallery(
    tmp_path: Path, pack_dir: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)  # away from a `.env`
    arguments = [*small(tmp_path / "data", pack_dir), "--seed", "7", "--json", "figures.json"]
    assert main(arguments) == 0
    assert "seed 7" in capsys.readouterr().out
    written = json.loads(Path("figures.json").read_text())
    assert written["kept"] is True
    assert [section["title"] for section in written["sections"]] == [
        "Initialization and health",
        "Bulk enrollment",
        "Strategy comparison",
        "Concurrent operations",
        "Statistics",
    ]
    assert written["sections"][2]["figures"]["hybrid"]["recall_at_1"] == 1.0
    assert main(arguments) == 2
    assert "holds a gallery already" in capsys.readouterr().err


def test_the_command_fails_and_names_the_broken_promise(
    tmp_path: Path, pack_dir: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    steps = (enrollment, lose_a_person, statistics)
    assert main(small(tmp_path / "data", pack_dir), steps) == 1
    shown = capsys.readouterr().out
    assert "BROKEN  The ledger holds exactly who should be there, by their last names: person-7" in shown


if __name__ == "__main__":
    sys.exit(main())
