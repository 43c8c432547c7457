"""`Robi`: a gallery on this machine, in this process, without a server."""

from __future__ import annotations

import difflib
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, Unpack

from core.config.settings import Settings, given_settings, load_settings
from core.domain.errors import StartError, Unavailable
from core.domain.names import NameWarning
from core.domain.people import EnrollResult, Person, Receipt
from core.domain.recognition import IdentifyResult, VerifyResult
from core.domain.search import Strategy
from core.runtime import data_dir as directory
from robi.options import GalleryOptions
from robi.photos import Photo, named, read

if TYPE_CHECKING:
    from core.services.service import RobiService

_PAGE = 500  # people read at a time

for _name in ("robi", "core"):  # a library says nothing on the screen, unless its program wants it to
    logging.getLogger(_name).addHandler(logging.NullHandler())


class Robi:
    """People who are enrolled, and recognising them. Safe to use from many threads; close it at the end.

    One process at a time uses a data directory. Whatever a method raises for what its caller can cause, or
    a part can suffer, is a `RobiError` with a stable `code`, a `message` and a `hint`.
    """

    def __init__(self, service: RobiService, lock: directory.DataDirLock) -> None:
        """Use `open`."""
        self._service: RobiService | None = service
        self._lock = lock

    @classmethod
    def open(
        cls,
        data_dir: str | os.PathLike[str],
        *,
        environment: bool = False,
        **options: Unpack[GalleryOptions],
    ) -> Self:
        """Open the gallery in a directory, which is made if need be; a second or two.

        Settings are keyword arguments, such as `face_threshold=0.45`. What was tuned on the dashboard's
        pages stands over them. The environment and `.env` count only with `environment`.

        Raises:
            StartError: `invalid_setting`, `data_dir_locked`, `data_dir_unusable`, or what is wrong with the
                face pack, the ledger or Qdrant.
        """
        _check(options)
        load = load_settings if environment else given_settings
        return cls.of(load(**options, robi_data_dir=Path(data_dir)))

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """As `open`, with settings that are made already."""
        # The working directory may change while the gallery is open.
        own = settings.model_copy(update={"robi_data_dir": settings.robi_data_dir.absolute()})
        lock = _locked(own.robi_data_dir)
        try:
            from core.services.opening import open_service  # what it imports takes a second or two

            return cls(open_service(own), lock)
        except BaseException:
            lock.close()
            raise

    def close(self) -> None:
        """Write what is still to be written and let go of the directory; may be called twice."""
        service, self._service = self._service, None
        if service is not None:
            from core.services.opening import close_service

            close_service(service)
        self._lock.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        problem: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    # ------------------------------------------------------------ enrolling

    def enroll(
        self,
        user_id: str,
        photos: Photo | Sequence[Photo],
        *,
        name: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        add_to_existing: bool = False,
        allow_duplicate: bool = False,
    ) -> EnrollResult:
        """Enroll a person from 1 to 20 photos; with `add_to_existing`, add photos to one who is there.

        Each photo gets a verdict: it is among the result's `enrolled`, or `rejected` with reasons. What is
        returned is stored for good, and found from now on if `searchable`.

        Raises:
            BadInput: `invalid_user_id`, `invalid_name`, `invalid_metadata`, `bad_parameter` (a file that
                cannot be read, or no photo). TooLarge. UnsupportedImage. Unusable: `no_usable_photo`, or
                what is wrong with the only photo. NotFound: `unknown_person`.
            Conflict: `person_exists`, or `duplicate_person` with who it is in `detail`.
            Unavailable: `disk_full`, `ledger_unavailable`.
        """
        service = self._opened()
        found = named(photos, _most_bytes(service))
        return service.enrollment.enroll(
            user_id,
            name,
            found,
            metadata=metadata,
            add_to_existing=add_to_existing,
            allow_duplicate=allow_duplicate,
            via="api",
        )

    # ------------------------------------------------------------ recognising

    def verify(
        self,
        photo: Photo,
        *,
        user_id: str | None = None,
        strategy: Strategy | str | None = None,
        top_k: int = 5,
        threshold: float | None = None,
    ) -> VerifyResult:
        """Who the largest face of a photo is; with `user_id`, whether it is that person (1:1).

        `best` is the person it resembles most, and None for a stranger. Only `verified` says that it is
        that person: below the threshold, or too near to somebody else, `decision` is `review`.

        Raises:
            Unusable: `no_face`, `too_dark`, `too_bright`, or what is wrong with the file.
            NotFound: `unknown_person`. BadInput: `bad_strategy`, `bad_parameter`, `threshold_too_low`.
        """
        service = self._opened()
        return service.recognition.verify(
            read(photo, _most_bytes(service)),
            user_id=user_id,
            strategy=strategy,
            top_k=top_k,
            threshold=threshold,
        )

    def identify(
        self,
        photo: Photo,
        *,
        strategy: Strategy | str | None = None,
        top_k: int = 5,
        threshold: float | None = None,
    ) -> IdentifyResult:
        """Who each face of a photo is, largest first; a photo without a face has no `faces`.

        Raises what `verify` raises, but for faces that are missing.
        """
        service = self._opened()
        data = read(photo, _most_bytes(service))
        return service.recognition.identify(data, strategy=strategy, top_k=top_k, threshold=threshold)

    # ------------------------------------------------------------ people

    def people(self, query: str = "") -> Iterator[Person]:
        """Everybody by name, or those with all words of `query` in name or ID; read a page at a time."""
        cursor: str | None = None
        while True:
            page = self._opened().people.listing(query=query, limit=_PAGE, cursor=cursor)
            yield from page.items
            cursor = page.next
            if cursor is None:
                return

    def person(self, user_id: str) -> Person:
        """Raises NotFound: `unknown_person`."""
        return self._opened().people.person(user_id)

    def rename(self, user_id: str, name: str) -> Person:
        """Raises NotFound: `unknown_person`. BadInput: `invalid_name`."""
        return self._opened().people.update(user_id, name=name)

    def name_warnings(self, name: str, user_id: str | None = None) -> tuple[NameWarning, ...]:
        """What to look at in a name that is, or is to become, `user_id`'s: others have it, or it looks so."""
        return self._opened().names.warnings(name, user_id)

    def erase(self, user_id: str) -> Receipt:
        """Erase a person everywhere: nothing finds them from the return on.

        The receipt says what each tier still holds, and `disk` what may still lie in files until they are
        overwritten, which happens in the background while the gallery is open.

        Raises NotFound: `unknown_person`.
        """
        return self._opened().erasures.erase(user_id)

    def receipt(self, event: int) -> Receipt:
        """The receipt of an erasure, by its `event`, as things stand now.

        Raises NotFound: `unknown_receipt`.
        """
        return self._opened().erasures.receipt(event)

    # ------------------------------------------------------------ inside

    def _opened(self) -> RobiService:
        if self._service is None:
            raise Unavailable("search_unavailable", "This gallery is closed.", "Open it again: Robi.open(…).")
        return self._service


def _most_bytes(service: RobiService) -> int:
    return service.settings.robi_max_upload_mb * 1_000_000


def _locked(data_dir: Path) -> directory.DataDirLock:
    try:
        return directory.hold(data_dir)
    except StartError as problem:
        if problem.code != "data_dir_locked":
            raise
        hint = "Ask that one over HTTP (robi.client.RobiClient), or stop it."
        raise StartError(problem.code, problem.message, hint) from None


def _check(options: Mapping[str, object]) -> None:
    """Refuse unknown names: settings ignore them, as the environment is full of other programs' variables."""
    for name in options:
        if name not in GalleryOptions.__annotations__:
            near = difflib.get_close_matches(name, GalleryOptions.__annotations__, 1)
            hint = f"Did you mean {near[0]}?" if near else "README lists the settings."
            raise StartError("invalid_setting", f"There is no setting {name} of a gallery.", hint)
