"""`robi enroll` and `robi verify`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from api.schemas.people import EnrollAnswer
from api.schemas.recognition import VerifyAnswer
from core.domain.decisions import shown
from core.domain.faces import Reason
from core.domain.people import EnrollResult, RejectedPhoto
from core.domain.recognition import VerifyResult
from core.domain.search import Candidate, Decision
from core.domain.validation import MAX_PHOTOS
from core.domain.wording import count
from robi.cli.answers import DONE, NO, CommandAnswer
from robi.cli.gallery import opened
from robi.cli.usage import Commands, Parser


def add(commands: Commands, shared: Sequence[Parser]) -> None:
    enroll_ = commands.add_parser("enroll", parents=shared, help="enroll a person, or add photos to one")
    enroll_.add_argument("user_id", metavar="USER_ID", help="1 to 64 letters, digits or . _ @ -")
    enroll_.add_argument("photos", metavar="PHOTO", nargs="+", help=f"1 to {MAX_PHOTOS} image files")
    enroll_.add_argument("--name", help="the person's name; left out: the USER_ID")
    enroll_.add_argument("--add", action="store_true", help="the person is enrolled: add the photos")
    enroll_.add_argument(
        "--allow-duplicate", action="store_true", help="enroll although somebody else looks the same"
    )
    enroll_.set_defaults(command=enroll)
    verify_ = commands.add_parser("verify", parents=shared, help="who is on a photo? 1: nobody for certain")
    verify_.add_argument("photo", metavar="PHOTO", help="an image file; its largest face counts")
    verify_.add_argument("--user-id", help="is it this person?")
    verify_.set_defaults(command=verify)


def enroll(options: argparse.Namespace) -> CommandAnswer:
    with opened(options, make=True) as robi:
        result = robi.enroll(
            options.user_id,
            options.photos,
            name=options.name,
            add_to_existing=options.add,
            allow_duplicate=options.allow_duplicate,
        )
        warnings = robi.name_warnings(result.person.name, result.person.user_id) if result.created else ()
    lines = [*_enrolled(result), *(f"  Look at the name: {warning.message}" for warning in warnings)]
    return CommandAnswer(lines, EnrollAnswer.of(result, warnings).model_dump(mode="json"))


def verify(options: argparse.Namespace) -> CommandAnswer:
    with opened(options) as robi:
        result = robi.verify(options.photo, user_id=options.user_id)
    status = DONE if result.verified else NO
    return CommandAnswer(_verified(result), VerifyAnswer.of(result).model_dump(mode="json"), status)


def _enrolled(result: EnrollResult) -> list[str]:
    person, added = result.person, len(result.enrolled)
    done = "enrolled with" if result.created else "has been given"
    lines = [f"{person.name} ({person.user_id}) {done} {count(added, 'photo')}."]
    lines += [f"  not {photo.photo}: {_why(photo)}" for photo in result.rejected]
    if not result.searchable:
        lines.append(f"  Not found everywhere yet: {', '.join(result.behind)} will follow.")
    return lines


def _verified(result: VerifyResult) -> list[str]:
    limit = result.search.threshold
    if result.best is None:
        return [f"{result.decision}: nobody who is enrolled comes near the threshold of {limit:.2f}."]
    denied = "not " if result.decision is Decision.UNKNOWN else ""  # of the person who was asked about
    said = f"{result.decision}: {denied}{_called(result.best, limit)}; the threshold is {limit:.2f}."
    return [said, *(f"  held back: {_sentence(reason)}" for reason in result.search.held_back_by)]


def _called(candidate: Candidate, threshold: float) -> str:
    similarity = shown(candidate.similarity, threshold, 4)
    return f"{candidate.name} ({candidate.user_id}), similarity {similarity:.4f}"


def _why(photo: RejectedPhoto) -> str:
    return " ".join(_sentence(reason) for reason in photo.reasons)


def _sentence(reason: str) -> str:
    """What an operator can do about a reason; the code of what is wrong with a file."""
    from core.faces.quality import sentence

    return sentence(Reason(reason)) if reason in set(Reason) else f"{reason}."
