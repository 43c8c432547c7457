"""Enroll, look up, rename and erase people."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from fastapi import APIRouter, File, Form, Path, Query, Response, UploadFile

from api.backend import Backend, BackendDep
from api.errors import bad_field
from api.forms import UploadRoute
from api.routes import failures
from api.schemas.people import ChangedUser, EnrollAnswer, ReceiptAnswer, User, UserPage, UserPatch
from core.domain.bounds import PAGE_SIZE
from core.domain.names import NameWarning
from core.domain.people import Person
from core.domain.validation import MAX_PHOTOS, USER_ID_RULE, label, read_metadata

listing = APIRouter(tags=["people"])
router = APIRouter(tags=["people"])
uploads = APIRouter(tags=["people"], route_class=UploadRoute)

UserId = Annotated[str, Path(examples=["ana-ruiz"])]


@listing.get("/users", summary="People, by name", responses=failures(400, 429, 503))
async def list_users(
    backend: BackendDep,
    q: Annotated[
        str, Query(description="Words of a name or user_id, in any order; case and accents do not matter.")
    ] = "",
    limit: Annotated[int, PAGE_SIZE, Query(description=f"Most people to list, {PAGE_SIZE}.")] = 50,
    cursor: Annotated[str | None, Query(description="`next` of the page before.")] = None,
) -> UserPage:
    page = await backend.lookup.run(backend.service.people.listing, query=q, limit=limit, cursor=cursor)
    return UserPage.of(page)


@uploads.post(
    "/enroll",
    summary="Enroll a person, or add photos to a person",
    status_code=201,
    responses=failures(400, 404, 409, 413, 415, 422, 429, 503),
)
async def enroll(
    backend: BackendDep,
    response: Response,
    user_id: Annotated[str, Form(description=USER_ID_RULE, examples=["ana-ruiz"])],
    images: Annotated[
        list[UploadFile], File(description=f"1 to {MAX_PHOTOS} images, each of this person alone.")
    ],
    name: Annotated[str | None, Form(description="Left out: the user_id.", examples=["Ana Ruiz"])] = None,
    metadata: Annotated[
        str | None, Form(description="A JSON object.", examples=['{"team": "night"}'])
    ] = None,
    add_to_existing: Annotated[
        bool, Form(description="Add the images to the person who is enrolled under this user_id.")
    ] = False,
    allow_duplicate: Annotated[
        bool, Form(description="Enroll although another person looks the same.")
    ] = False,
) -> EnrollAnswer:
    """Every image gets a verdict. Success means: stored for good, and found from now on if `searchable`.

    A new person's `user_id` must be free. With `add_to_existing` it must not be, and each image must match
    most of those that the person was enrolled with. An image that is there already is reported, not stored:
    200 when there was nothing else to do.
    """
    photos = [(_label(upload, number), upload.file.read()) for number, upload in enumerate(images, 1)]
    result = await backend.compute.run(
        backend.service.enrollment.enroll,
        user_id,
        name,
        photos,
        metadata=None if metadata is None else read_metadata(metadata),
        add_to_existing=add_to_existing,
        allow_duplicate=allow_duplicate,
        via="api",
    )
    response.status_code = 201 if result.enrolled else 200
    warnings = await _name_warnings(backend, result.person) if result.created else ()
    return EnrollAnswer.of(result, warnings)


@router.get("/users/{user_id}", summary="One person", responses=failures(404, 429, 503))
async def get_user(backend: BackendDep, user_id: UserId) -> User:
    return User.of(await backend.lookup.run(backend.service.people.person, user_id))


@router.patch(
    "/users/{user_id}",
    summary="Rename a person or replace their metadata",
    responses=failures(400, 404, 413, 429, 503),
)
async def update_user(backend: BackendDep, user_id: UserId, patch: UserPatch) -> ChangedUser:
    if patch.name is None and patch.metadata is None:
        raise bad_field("body", "There is nothing to change.", "Send a name, metadata, or both.")
    person = await backend.lookup.run(
        backend.service.people.update, user_id, name=patch.name, metadata=patch.metadata
    )
    warnings = await _name_warnings(backend, person) if patch.name is not None else ()
    return ChangedUser.after(person, warnings)


@router.delete("/users/{user_id}", summary="Erase a person everywhere", responses=failures(404, 429, 503))
async def erase_user(backend: BackendDep, user_id: UserId) -> ReceiptAnswer:
    """From the answer on, no strategy proposes the person. The receipt says what each tier still holds."""
    return ReceiptAnswer.of(await backend.compute.run(backend.service.erasures.erase, user_id))


def _label(upload: UploadFile, number: int) -> str:
    return label(upload.filename or "", f"image {number}")


async def _name_warnings(backend: Backend, person: Person) -> Sequence[NameWarning]:
    return await backend.lookup.run(backend.service.names.warnings, person.name, person.user_id)
