"""What can hold anything, and what is left of it for counting (NAR ATT STT)."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field, StringConstraints
from pydantic_core import PydanticCustomError

from schemas.base import ProtectedModel
from schemas.codes import BROKER, CTDC, HTCDS
from schemas.sections.common import Classified
from schemas.sections.fields import (
    Column,
    Country,
    Day,
    FreeText,
    Kind,
    ShortText,
    no_repeats,
    one_of,
)
from schemas.sections.index import SECTION_INDEX


class CaseNarrative(ProtectedModel):
    """Free text about everything: off by default, redacted by a person before it travels."""

    case_comment: Annotated[FreeText | None, Column("cco_CaseComment")] = None
    interview_record: FreeText | None = None
    complete_case_report: FreeText | None = None
    written_on: Day | None = None
    redacted: bool | None = None
    """A worker took out what the purpose does not need, and what belongs to other sections."""
    redacted_by: ShortText | None = None


def _is_section(value: str) -> str:
    if value not in SECTION_INDEX:
        raise PydanticCustomError("unknown_code", "does not fit")
    return value


class FileNote(ProtectedModel):
    """What one attached file is. The file itself travels sealed beside the message.

    There is no field for an address: files have no links, public or other.
    """

    kind: Annotated[str, *one_of(BROKER, "file_kind")] | None = None
    section: Annotated[str, Kind.SECTION, AfterValidator(_is_section)] | None = None
    """The section whose consent covers the file."""
    media_type: Annotated[str, *one_of(BROKER, "media_type")] | None = None
    size: Annotated[int, Field(ge=1, le=64 * 1024 * 1024)] | None = None
    """Bytes."""
    digest: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{43}$")] | None = None
    """SHA-256 of the plain file, base64url."""
    made_on: Day | None = None


class AttachmentsBiometrics(ProtectedModel):
    """Photographs, fingerprints, scans and certificates, each with the section it belongs to."""

    files: Annotated[tuple[FileNote, ...], Field(max_length=40)] = ()
    biometrics_purpose: ShortText | None = None
    """What fingerprints or a photograph are for; a travel document, as a rule."""


class StatisticsResearch(ProtectedModel):
    """The variables of the global data set, without identifiers. Opt-in; small cells are hidden.

    One person's record is pseudonymous at best and special by content; only tables are anonymous.
    """

    year_of_registration: Annotated[int, Field(ge=1990, le=2199)] | None = None
    gender: Annotated[str, *one_of(HTCDS, "prs_Gender")] | None = None
    age_band: Annotated[str, *one_of(CTDC, "ageBroad")] | None = None
    majority_status: Annotated[str, *one_of(CTDC, "majorityStatus")] | None = None
    majority_status_at_exploitation: Annotated[str, *one_of(CTDC, "majorityStatus")] | None = None
    citizenship: Country | None = None
    country_of_exploitation: Country | None = None
    means_of_control: Annotated[
        tuple[Annotated[str, *one_of(CTDC, "meansOfControl")], ...], AfterValidator(no_repeats)
    ] = ()
    forms_of_exploitation: Annotated[
        tuple[Annotated[str, *one_of(CTDC, "exploitation")], ...], AfterValidator(no_repeats)
    ] = ()
    types_of_labour: Annotated[
        tuple[Annotated[str, *one_of(CTDC, "typeOfLabour")], ...], AfterValidator(no_repeats)
    ] = ()
    types_of_sex: Annotated[
        tuple[Annotated[str, *one_of(CTDC, "typeOfSex")], ...], AfterValidator(no_repeats)
    ] = ()
    recruiter_relations: Annotated[
        tuple[Annotated[str, *one_of(CTDC, "recruiterRelation")], ...], AfterValidator(no_repeats)
    ] = ()
    abducted: Annotated[str, *one_of(BROKER, "yes_no_unknown")] | None = None
    classified: Classified = ()
    """IC-TIP: event, victim, perpetrator, reporting entity."""
