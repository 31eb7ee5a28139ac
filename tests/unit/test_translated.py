"""What people read of documents and states: the words of `lib.words`."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from deployments.console import words
from deployments.console.language import environments
from lib import errors
from lib.platforms.dqg.payloads import DOCUMENT_SCHEMAS, build_payload
from lib.resilience.breaker_rules import BreakerSnapshot, BreakerState
from lib.settings import ApiSettings, Language
from lib.words import documents, states
from lib.words.documents import FIELDS, HINTS, REASONS, finding, reason
from lib.words.states import held
from tests.unit.payload_kit import make_document

ROOT = Path(__file__).resolve().parents[2]
NOW = datetime(2026, 11, 27, 3, 0, tzinfo=UTC)  # 10:00 in Vietnam


def texts_of_the_check() -> Iterator[str]:
    """What our own check can find or doubt, as written in the code, its values as `#`."""
    for name in ("lib/platforms/dqg/fields.py", "lib/platforms/dqg/payloads.py"):
        for node in ast.walk(ast.parse((ROOT / name).read_text("utf-8"))):
            if not isinstance(node, ast.Call):
                continue
            called = getattr(node.func, "id", getattr(node.func, "attr", ""))
            place = {"refuse": 0, "warn": 1, "FieldError": 2}.get(called)
            if place is not None and not isinstance(node.args[place], ast.Name | ast.Attribute):
                text = _with_signs(node.args[place])
                if text is not None:
                    yield text


def _with_signs(node: ast.expr) -> str | None:
    match node:
        case ast.Constant(value=str(text)):
            return text
        case ast.JoinedStr(values=parts):
            return "".join(
                part.value if isinstance(part, ast.Constant) else "#"  # type: ignore[misc]
                for part in parts
            )
    return None


def test_everything_our_check_finds_has_its_words() -> None:
    found = set(texts_of_the_check())
    assert len(found) > 15
    assert found - set(REASONS) == set()
    assert [text for text in REASONS if reason(text, Language.VIETNAMESE) == text] == []


def test_every_field_has_a_name_and_a_hint() -> None:
    fields = {
        name
        for form in DOCUMENT_SCHEMAS.values()
        for part in (form.header, form.line)
        for name in part.model_fields
    } | {form.lines for form in DOCUMENT_SCHEMAS.values()}
    assert fields - FIELDS.keys() == set()
    assert fields - HINTS.keys() == set()


def test_every_class_that_waits_for_a_person_has_its_words() -> None:
    kinds = (
        errors.Rejected,
        errors.InvalidDocument,
        errors.Conflict,
        errors.ChangedAfterAcceptance,
        errors.AttemptsExhausted,
        errors.CrashesWorker,
    )
    assert {kind.error_class for kind in kinds} - documents.CLASSES.keys() == set()


@pytest.mark.parametrize(
    ("language", "text"),
    [
        (Language.VIETNAMESE, "dòng 1, số lô (so_lo): để trống"),
        (Language.ENGLISH, "line 1, lot number (so_lo): is blank"),
    ],
)
def test_a_blank_lot_is_said_in_the_language_of_documents(language: Language, text: str) -> None:
    document = make_document(line={"lot_number": ""})
    with pytest.raises(errors.InvalidDocument) as refused:
        build_payload(document, ApiSettings(), language=language)
    assert refused.value.message == text


def test_numbers_stay_in_a_reason() -> None:
    said = finding("loai_phieu_nhap", None, "must be one of 1, 2, 3", Language.VIETNAMESE)
    assert said == "loại phiếu nhập (loai_phieu_nhap): phải là một trong các số 1, 2, 3"
    assert reason("Giá trị 7% không hợp lệ", Language.VIETNAMESE) == "Giá trị 7% không hợp lệ"


@pytest.mark.parametrize(
    ("snapshot", "text"),
    [
        (None, "chưa rõ"),
        (BreakerSnapshot("x"), "tốt"),
        (BreakerSnapshot("x", BreakerState.OPEN, "503", seconds_left=1200), "tạm dừng đến 10:20"),
        (BreakerSnapshot("x", BreakerState.HALF_OPEN, "503"), "đang thử lại"),
        (
            BreakerSnapshot("x", BreakerState.FORCED_OPEN, held("lan", "kiểm kê: kho 2")),
            "bị lan dừng bằng tay vì: kiểm kê: kho 2",
        ),
        (BreakerSnapshot("x", BreakerState.FORCED_OPEN, "kiểm kê"), "bị dừng bằng tay vì: kiểm kê"),
    ],
)
def test_a_breaker_says_what_it_means_for_documents(
    snapshot: BreakerSnapshot | None, text: str
) -> None:
    assert states.breaker(snapshot, Language.VIETNAMESE, NOW) == text


@pytest.mark.parametrize("language", Language)
def test_a_page_shows_an_answer_of_the_api_whatever_signs_it_has(language: Language) -> None:
    environment = environments(words.FILTERS, words.GLOBALS)[language]
    page = environment.from_string("{{ text|translated }}")
    assert page.render(text="Thuế 5% s{x}", language=language.value) == "Thuế 5% s{x}"
