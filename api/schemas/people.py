"""People, enrolling and erasing as the REST contract shapes them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from api.schemas.common import PERSON, example
from core.domain.listing import Page
from core.domain.names import NameWarning
from core.domain.people import EnrollResult, Person, Receipt


class User(BaseModel):
    model_config = example(
        **PERSON,
        templates=3,
        created_at="2026-11-23T08:30:00Z",
        updated_at="2026-11-23T08:30:00Z",
        last_matched_at=None,
        metadata={"team": "night"},
    )
    user_id: str
    name: str
    templates: int = Field(description="How many templates (embeddings) the person has.")
    created_at: datetime
    updated_at: datetime
    last_matched_at: datetime | None
    metadata: dict[str, Any]

    @classmethod
    def of(cls, person: Person) -> User:
        return cls(
            user_id=person.user_id,
            name=person.name,
            templates=person.templates,
            created_at=person.created_at,
            updated_at=person.updated_at,
            last_matched_at=person.last_matched_at,
            metadata=dict(person.metadata),
        )


class NameWarningAnswer(BaseModel):
    code: str = Field(description="`name_exists`, `name_looks_like` or `mixed_alphabets`.")
    message: str
    user_ids: list[str] = Field(description="The people whose name it is, or looks like; at most five.")

    @classmethod
    def of(cls, warning: NameWarning) -> NameWarningAnswer:
        return cls(code=warning.code, message=warning.message, user_ids=list(warning.user_ids))


class ChangedUser(User):
    warnings: list[NameWarningAnswer] = Field(description="What to look at in a new name; it is no error.")

    @classmethod
    def after(cls, person: Person, warnings: Sequence[NameWarning]) -> ChangedUser:
        return cls(**dict(User.of(person)), warnings=[NameWarningAnswer.of(w) for w in warnings])


class UserPage(BaseModel):
    users: list[User]
    next: str | None = Field(description="The cursor of the next page; null at the end.")
    total: int = Field(description="How many people there are on all pages together.")

    @classmethod
    def of(cls, page: Page[Person]) -> UserPage:
        return cls(users=[User.of(person) for person in page.items], next=page.next, total=page.total)


class UserPatch(BaseModel):
    """At least one of the two; metadata are replaced as a whole."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"example": {"name": "Ana Ruiz Soto"}})
    name: str | None = None
    metadata: dict[str, Any] | None = None


class DiskAnswer(BaseModel):
    bytes: int | None = Field(
        description="Of the person's vectors that may still lie in the files; null: it could not be asked."
    )
    gone_by: datetime | None = Field(
        description="When they have been overwritten; null: they are gone, or the tier does not say."
    )


class ReceiptAnswer(BaseModel):
    model_config = example(
        user_id="ana-ruiz",
        templates_erased=3,
        tiers={"ledger": 0, "qdrant": 0, "faiss": 0},
        disk={
            "ledger": {"bytes": 0, "gone_by": None},
            "qdrant": {"bytes": 1536, "gone_by": "2026-01-27T10:01:00Z"},
        },
    )
    user_id: str
    templates_erased: int
    tiers: dict[str, int | None] = Field(
        description="How many of the person's templates each tier still holds; null: it could not be asked."
    )
    disk: dict[str, DiskAnswer] = Field(
        description="What the files may still hold: what is deleted is found by no search from then on, and "
        "overwritten a little later."
    )

    @classmethod
    def of(cls, receipt: Receipt) -> ReceiptAnswer:
        return cls(
            user_id=receipt.user_id,
            templates_erased=receipt.templates_erased,
            tiers=dict(receipt.left),
            disk={
                tier: DiskAnswer(bytes=on_disk.bytes, gone_by=on_disk.gone_by)
                for tier, on_disk in receipt.disk.items()
            },
        )


class EnrolledImage(BaseModel):
    image: str = Field(description="The file's name as it was sent.")
    template_id: int
    quality: float = Field(description="0 to 1, 1 is best.")
    warnings: list[str]


class RejectedImage(BaseModel):
    image: str
    reasons: list[str]


class EnrollAnswer(BaseModel):
    model_config = example(
        user_id="ana-ruiz",
        name="Ana Ruiz",
        created=True,
        enrolled=[{"image": "front.jpg", "template_id": 1, "quality": 0.91, "warnings": []}],
        rejected=[{"image": "group.jpg", "reasons": ["several_faces"]}],
        searchable=True,
        behind=[],
        warnings=[],
    )
    user_id: str
    name: str
    created: bool = Field(description="False: the templates were added to a person already enrolled.")
    enrolled: list[EnrolledImage]
    rejected: list[RejectedImage]
    searchable: bool = Field(description="True: every strategy finds these templates from now on.")
    behind: list[str] = Field(description="The tiers that have not taken it over yet; they will.")
    warnings: list[NameWarningAnswer] = Field(
        description="What to look at in a new person's name; it is no error."
    )

    @classmethod
    def of(cls, result: EnrollResult, warnings: Sequence[NameWarning]) -> EnrollAnswer:
        return cls(
            user_id=result.person.user_id,
            name=result.person.name,
            created=result.created,
            enrolled=[
                EnrolledImage(
                    image=photo.photo,
                    template_id=photo.template_id,
                    quality=round(float(photo.quality), 4),
                    warnings=[str(reason) for reason in photo.warnings],
                )
                for photo in result.enrolled
            ],
            rejected=[
                RejectedImage(image=photo.photo, reasons=[str(reason) for reason in photo.reasons])
                for photo in result.rejected
            ],
            searchable=result.searchable,
            behind=list(result.behind),
            warnings=[NameWarningAnswer.of(warning) for warning in warnings],
        )
