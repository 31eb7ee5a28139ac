"""The shapes of the API's answers."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from starlette.responses import Response

from deployments.local.sandbox.options import Options
from deployments.local.sandbox.resources import Resource
from deployments.local.sandbox.rules import Problem

#: Maximum number of problems listed in an answer.
_PROBLEMS_SHOWN = 5


class Refusal(Exception):
    """The call is refused.

    Attributes:
        about_document: the document's content is wrong, so `error_shape` selects the form of the
            answer; every other refusal has its HTTP status and a `code`.
    """

    def __init__(
        self,
        status: int,
        text: str,
        *,
        about_document: bool = False,
        problems: Sequence[Problem] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(text)
        self.status = status
        self.text = text
        self.about_document = about_document
        self.problems = problems
        self.headers = headers

    @classmethod
    def of_problems(cls, problems: Sequence[Problem]) -> Refusal:
        text = "; ".join(map(str, problems[:_PROBLEMS_SHOWN]))
        more = len(problems) - _PROBLEMS_SHOWN
        text += f"; và {more} lỗi khác" if more > 0 else ""
        return cls(400, text, about_document=True, problems=problems)


def json_answer(
    content: Any, status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    body = json.dumps(content, ensure_ascii=False, separators=(",", ":"))
    return Response(body, status, headers, media_type="application/json")


def login_succeeded(options: Options, token: str) -> Response:
    if options.login_shape == "L3":
        return json_answer({"access_token": token, "token_type": "bearer"})
    flat = {"token": token, "token_type": "bearer"}
    if options.login_shape == "L1":
        return json_answer(flat)
    return json_answer(
        {"code": _code(options, 200), "message": "Đăng nhập thành công", "data": flat}
    )


def login_refused(options: Options, text: str) -> Response:
    status = 400 if options.login_failure == "http400" else 200
    return json_answer({"code": _code(options, 400), "message": text, "data": None}, status)


def document_accepted(
    options: Options, resource: Resource, *, code: str, national_id: str
) -> Response:
    text = f"Gửi {resource.label} thành công"
    shape = getattr(options, f"{resource.name}_answer")
    if shape in ("N1", "X1"):
        return json_answer(national_id)
    if shape in ("H3", "N3", "X3"):
        field = f"ma_{resource.name}"
        return json_answer({"status": "success", "message": text, field: national_id})
    if shape in ("H1", "H1_ECHO"):
        value = code if shape == "H1_ECHO" else national_id
        return coded(options, 200, text, {resource.code_field: value})
    return coded(options, 200, text, {resource.national_field: national_id})


def coded(
    options: Options, code: int, text: str, fields: Mapping[str, str | None] | None = None
) -> Response:
    """HTTP 200 with the common object: further fields, a code and a text."""
    return json_answer({**(fields or {}), **_coded(options, code, text)})


def refused(options: Options, refusal: Refusal) -> Response:
    """The answer to a refused call."""
    shape = options.error_shape if refusal.about_document else "E1"
    status, text = refusal.status, refusal.text
    match shape:
        case "E3":
            answer = json_answer({"message": text}, status)
        case "E3_CAPITAL":
            answer = json_answer({"Message": text}, status)
        case "E4":
            answer = coded(options, status, text)
        case "E5":
            answer = Response(b"", 200)
        case "E5_NULL":
            answer = json_answer(None)
        case "E6":
            answer = Response(text, status, media_type="text/plain")
        case "E6_HTML":
            answer = Response(html_page(text), status, media_type="text/html")
        case "E7":
            answer = _detail(refusal)
        case _:
            answer = json_answer(_coded(options, status, text), status, refusal.headers)
    return answer


def html_page(text: str) -> str:
    return (
        f"<!DOCTYPE html><html><head><title>DQG</title></head><body><h1>{text}</h1></body></html>"
    )


def _coded(options: Options, code: int, text: str) -> dict[str, Any]:
    return {"code": _code(options, code), options.text_key: text}


def _code(options: Options, code: int) -> int | str:
    return str(code) if options.code_type == "text" else code


def _detail(refusal: Refusal) -> Response:
    if not refusal.problems:
        return json_answer({"detail": refusal.text}, refusal.status)
    detail = [
        {
            "loc": ["body", *([] if p.line is None else [p.line]), p.field],
            "msg": str(p),
            "type": "value_error",
        }
        for p in refusal.problems
    ]
    return json_answer({"detail": detail}, 422)
