"""Who the person is and how to reach her: identity, language, papers, contact (IDC DEM NAT CON)."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field

from schemas.base import ProtectedModel
from schemas.codes import BROKER, HTCDS
from schemas.sections.common import not_before
from schemas.sections.fields import (
    Column,
    Count,
    Country,
    Day,
    Email,
    FreeText,
    Language,
    LanguageTag,
    Latitude,
    Longitude,
    PartialDate,
    Phone,
    Script,
    ShortText,
    Subdivision,
    Texts,
    no_repeats,
    one_of,
)


class IdentityCore(ProtectedModel):
    """Name, birth date and gender. Off in anonymous notices and capacity queries.

    `first_name` … hold the name in any script. Where they hold a transliteration, the name as the
    person writes it goes into `original_…`, and `transliteration` says by which rules.
    """

    salutation: Annotated[ShortText | None, Column("prs_Salutation")] = None
    first_name: Annotated[ShortText | None, Column("prs_FirstName")] = None
    middle_name: Annotated[ShortText | None, Column("prs_MiddleName")] = None
    second_name: Annotated[ShortText | None, Column("prs_SecondName")] = None
    birthdate: Annotated[PartialDate | None, Column("prs_Birthdate")] = None
    gender: Annotated[Annotated[str, *one_of(HTCDS, "prs_Gender")] | None, Column("prs_Gender")] = (
        None
    )
    """Expression of gender, as in HTCDS; not sex at birth."""
    deceased: Annotated[bool | None, Column("prs_Deceased")] = None
    original_first_name: Annotated[ShortText | None, Column("x_original_first_name")] = None
    original_middle_name: Annotated[ShortText | None, Column("x_original_middle_name")] = None
    original_second_name: Annotated[ShortText | None, Column("x_original_second_name")] = None
    original_script: Annotated[Script | None, Column("x_original_script")] = None
    original_language: LanguageTag | None = None
    """BCP 47, as `ar`, `uk-Cyrl`, `zgh-Tfng-MA`."""
    transliteration: ShortText | None = None
    """Rules of the transliteration, as `ISO 9:1995`, or `as in passport`."""
    aliases: Texts = ()
    name_withheld: bool | None = None
    """The case goes by its number: the person's name is confidential."""
    sex_for_travel: Annotated[str, *one_of(BROKER, "sex_for_travel")] | None = None
    """As printed in the travel document, and only if travel needs it."""


class DemographicsLanguage(ProtectedModel):
    """How to talk with the person; enough for an early notice that names nobody."""

    primary_language: Annotated[Language | None, Column("prs_PrimaryLanguage")] = None
    secondary_language: Annotated[Language | None, Column("prs_SecondaryLanguage")] = None
    highest_level_of_education: Annotated[
        Annotated[str, *one_of(HTCDS, "prs_HighestLevelOfEducation")] | None,
        Column("prs_HighestLevelOfEducation"),
    ] = None
    marital_status: Annotated[
        Annotated[str, *one_of(HTCDS, "prs_MaritalStatus")] | None, Column("prs_MaritalStatus")
    ] = None
    interpreter_needed: bool | None = None
    interpreter_gender: Annotated[str, *one_of(BROKER, "interpreter_gender")] | None = None
    literacy: Annotated[str, *one_of(BROKER, "literacy")] | None = None
    reads_script: Script | None = None
    religion_or_diet: FreeText | None = None
    """Only if the person asks for it to be known (GDPR Art 9)."""


class IdentityDocument(ProtectedModel):
    """One paper: what it is, who issued it, where it is now."""

    type: Annotated[str, *one_of(BROKER, "document_type")] | None = None
    state: Annotated[str, *one_of(BROKER, "document_state")] | None = None
    number: ShortText | None = None
    issuer: Country | None = None
    issuing_authority: ShortText | None = None
    issued_on: Day | None = None
    expires_on: Annotated[Day | None, not_before("issued_on")] = None


class NationalityDocuments(ProtectedModel):
    """Citizenship and papers. Never to the country of origin while an asylum claim is open."""

    citizenship: Annotated[
        Annotated[tuple[Country, ...], AfterValidator(no_repeats), Field(max_length=8)],
        Column("prs_Citizenship"),
    ] = ()
    identity_number: Annotated[ShortText | None, Column("prs_IdentityNumber")] = None
    """National identity number (GDPR Art 87), as text: leading zeros belong to it."""
    stateless: bool | None = None
    region_of_origin: Subdivision | None = None
    """Where a part of a country is the partner, as `CN-YN`."""
    unhcr_id: ShortText | None = None
    permanent_residence: Country | None = None
    documents: Annotated[tuple[IdentityDocument, ...], Field(max_length=20)] = ()


class SafeContact(ProtectedModel):
    """How the person can be reached without being put in danger."""

    method: Annotated[str, *one_of(BROKER, "contact_method")] | None = None
    times: ShortText | None = None
    code_word: ShortText | None = None
    language: Language | None = None
    who_may_answer: ShortText | None = None
    voice_mail_allowed: bool | None = None


class ContactLocation(ProtectedModel):
    """Where the person is. Shortest retention; coordinates are coarse; the shelter stays here.

    The shelter's fields leave the country of destination in travel notices and safety messages
    alone (`shelter-stays`).
    """

    email: Annotated[Email | None, Column("prs_Email")] = None
    home_phone: Annotated[Phone | None, Column("prs_HomePhone")] = None
    mobile_phone: Annotated[Phone | None, Column("prs_MobilePhone")] = None
    mailing_city: Annotated[ShortText | None, Column("prs_MailingCity")] = None
    mailing_country: Annotated[Country | None, Column("prs_MailingCountry")] = None
    mailing_state: Annotated[ShortText | None, Column("prs_MailingState")] = None
    mailing_street: Annotated[ShortText | None, Column("prs_MailingStreet")] = None
    mailing_postal_code: Annotated[ShortText | None, Column("prs_MailingPostalCode")] = None
    mailing_longitude: Annotated[Longitude | None, Column("prs_MailingLongitude")] = None
    mailing_latitude: Annotated[Latitude | None, Column("prs_MailingLatitude")] = None
    mailing_subdivision: Subdivision | None = None
    shelter_name: ShortText | None = None
    shelter_address: ShortText | None = None
    safe_contact: SafeContact | None = None
    do_not_contact: Texts = ()
    """People and bodies that must not learn where the person is, in her words."""
    household_size: Count | None = None
