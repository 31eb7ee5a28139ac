"""How the sandbox behaves when no fault fires; every option may change while it runs."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field


def _split(value: object) -> object:
    return [part for part in value.split(",") if part] if isinstance(value, str) else value


TextList = Annotated[tuple[str, ...], BeforeValidator(_split)]


class Options(BaseModel):
    """Immutable; `changed` returns a validated copy. An unknown name is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    login_shape: Literal["L1", "L2", "L3"] = Field(
        "L2", description="login answer: L1 flat, L2 envelope, L3 access_token"
    )
    login_failure: Literal["http400", "body400"] = Field(
        "http400", description="a refused login: HTTP 400, or HTTP 200 with code 400"
    )
    token_seconds: float = Field(1800, gt=0, description="lifetime of a token")
    token_format: Literal["opaque", "jwt"] = Field(
        "opaque", description="jwt: the token has an `exp` claim"
    )
    one_token_per_account: bool = Field(
        False, description="a login ends the account's earlier tokens"
    )
    check_facility: bool = Field(
        True, description="403 when a document's ma_co_so is not the account's"
    )

    hoa_don_answer: Literal["H1", "H1_ECHO", "H2", "H3"] = Field(
        "H2",
        description="accepted sale: H1 ma_hoa_don, H1_ECHO the same with the local code, "
        "H2 ma_hoa_don_quoc_gia, H3 status success without a code",
    )
    phieu_nhap_answer: Literal["N1", "N2", "N3"] = Field(
        "N2", description="accepted receipt: N1 bare string, N2 object, N3 status success"
    )
    phieu_xuat_answer: Literal["X1", "X2", "X3"] = Field(
        "X2", description="accepted slip: X1 bare string, X2 object, X3 status success"
    )
    error_shape: Literal["E1", "E3", "E3_CAPITAL", "E4", "E5", "E5_NULL", "E6", "E6_HTML", "E7"] = (
        Field(
            "E1",
            description="refused document: E1 HTTP status with code and mess, E3 message, "
            "E3_CAPITAL Message, E4 HTTP 200 with the code in the body, E5 HTTP 200 and an empty "
            "body, E5_NULL HTTP 200 and null, E6 plain text, E6_HTML, E7 detail. (E2 is the "
            "answer to a wrong token: always HTTP 401)",
        )
    )
    text_key: Literal["mess", "message"] = Field(
        "mess", description="name of the field with the answer's text"
    )
    code_type: Literal["number", "text"] = Field(
        "number", description="whether the answer's code is 200 or '200'"
    )

    lookup: Literal["on", "off", "missing"] = Field(
        "on", description="GET of a document: on, off (405), missing (404 without a code)"
    )
    duplicates: Literal["reject", "reject200", "same", "accept"] = Field(
        "reject",
        description="a code sent again: reject (409), reject200 (HTTP 200, code 400), same "
        "(success with the first national code), accept (stored a second time)",
    )

    no_lookup_for: TextList = Field(
        (), description="resources whose GET is off (405) while others' may be on, comma-separated"
    )
    reject_duplicates_for: TextList = Field(
        (), description="resources that always reject a code sent again, comma-separated"
    )

    allow_fractions: bool = Field(False, description="accept numbers with a fraction, also 2.0")
    drug_codes: Literal["known", "any"] = Field(
        "known",
        description="known: refuse drug codes that are not in the catalogue; any: accept all",
    )
    extra_drug_codes: TextList = Field(
        (), description="codes added to the demo catalogue, separated by commas"
    )

    latency_ms: float = Field(0, ge=0, description="every answer takes at least this long")
    rate_limit: int = Field(
        0, ge=0, description="document calls per second and account, above it 429; 0: no limit"
    )
    seed: int = Field(0, description="seed of the random numbers for faults")

    def changed(self, changes: dict[str, Any]) -> Options:
        """A copy with these changes.

        Raises:
            pydantic.ValidationError: an option is unknown or its value is invalid.
        """
        return Options.model_validate({**self.model_dump(), **changes})
