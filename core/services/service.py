"""The use-cases as one record. Pages, API and library call these; nothing is decided anywhere else."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from core.backup import erasure_list
from core.backup.erasure_list import ErasureLists
from core.backup.schedule import BackupSchedule
from core.config.settings import Settings
from core.faces.engine import FaceEngine
from core.ledger.journal import Journal
from core.ledger.ledger import Ledger
from core.metrics import Metrics
from core.monitoring.monitor import Monitor
from core.services.duplicates import Duplicates
from core.services.enroller import Enroller
from core.services.enrollment import Enrollment
from core.services.erasure import Erasures
from core.services.events import Events
from core.services.matching import Matching
from core.services.names import Names
from core.services.options import Options
from core.services.people import People
from core.services.pictures import Pictures
from core.services.recognition import Recognition
from core.services.tuning import Tuner
from core.store.hybrid import HybridVectorStore


@dataclass(frozen=True, slots=True, eq=False)
class RobiService:
    """Services raise only `core.domain.errors.RobiError`s for what a user can cause or a tier can suffer."""

    settings: Settings
    engine: FaceEngine
    ledger: Ledger
    store: HybridVectorStore
    metrics: Metrics
    tuning: Tuner
    pictures: Pictures
    options: Options
    events: Events
    names: Names
    matching: Matching
    recognition: Recognition
    duplicates: Duplicates
    enrollment: Enrollment
    people: People
    erasures: Erasures
    monitor: Monitor
    journal: Journal
    backups: BackupSchedule
    """Started by whoever serves: a command or a program is over before a backup would be due."""

    @classmethod
    def open(
        cls, settings: Settings, engine: FaceEngine, ledger: Ledger, store: HybridVectorStore
    ) -> RobiService:
        """Put the services together and start what runs in the background.

        Raises:
            Unavailable: the ledger cannot be read.
        """
        tuning = Tuner.open(settings, ledger, store)
        journal = Journal(ledger.events)
        pictures = Pictures(settings, engine, store.metrics, tuning)
        options = Options(settings, ledger, tuning)
        events = Events(ledger, journal, tuning)
        matching = Matching(ledger, store, options)
        duplicates = Duplicates(store, tuning)
        lists = _lists(settings, ledger)
        backups = BackupSchedule(settings, lists)
        enroller = Enroller(settings, ledger.people, store, duplicates, tuning)
        made = cls(
            settings=settings,
            engine=engine,
            ledger=ledger,
            store=store,
            metrics=store.metrics,
            tuning=tuning,
            pictures=pictures,
            options=options,
            events=events,
            names=Names(ledger),
            matching=matching,
            recognition=Recognition(store.metrics, pictures, options, matching, events),
            duplicates=duplicates,
            enrollment=Enrollment(store.metrics, pictures, enroller, tuning),
            people=People(ledger, store, journal),
            erasures=Erasures(ledger, store, journal, lists, engine.pack.dimension),
            monitor=Monitor(settings, engine, ledger, store, backups),
            journal=journal,
            backups=backups,
        )
        journal.start()
        made.monitor.start()
        return made

    def close(self) -> None:
        """Write what is still waiting to be written. Engine, ledger and store stay with their owner."""
        self.backups.close()
        self.monitor.close()
        self.journal.close()


def _lists(settings: Settings, ledger: Ledger) -> ErasureLists:
    """In the data directory, and beside scheduled backups: whatever is lost, one of them is left."""
    folders = [
        settings.robi_data_dir,
        *([Path(settings.robi_backup_dir)] if settings.robi_backup_dir else []),
    ]
    lists = ErasureLists(
        [folder / erasure_list.NAME for folder in folders], ledger.feed.gallery_id, ledger.erased
    )
    lists.follow()
    return lists
