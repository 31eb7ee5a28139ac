"""Valid documents for the sandbox, one of each kind."""

from __future__ import annotations

from typing import Any

from deployments.local.sandbox.accounts import DEMO_ACCOUNTS

_FACILITY = DEMO_ACCOUNTS[0].ma_co_so

_DRUG: dict[str, Any] = {
    "ma_thuoc": "DQG00010421",
    "ten_thuoc": "Paracetamol Sao Khuê 500mg",
    "so_lo": "SK240815",
    "ngay_san_xuat": "20260115",
    "han_dung": "20290115",
}


def sale(
    code: str = "HD-S01-000101", *, ma_co_so: str = _FACILITY, **fields: Any
) -> dict[str, Any]:
    """A sale invoice (`hoa_don`) of one line; `fields` replace header fields."""
    line = {
        **_DRUG,
        "don_vi_tinh": "Viên",
        "ham_luong": "500mg",
        "duong_dung": "Uống",
        "lieu_dung": "1 viên/lần, ngày 3 lần",
        "so_dang_ky": "VD-31422-19",
        "so_luong": 20,
        "don_gia": 500,
        "thanh_tien": 10000,
        "ty_le_quy_doi": 1,
    }
    return {
        "ma_hoa_don": code,
        "ma_co_so": ma_co_so,
        "ngay_ban": "20261102",
        "ho_ten_nguoi_ban": "DS. Trần Thu Hà",
        "ho_ten_khach_hang": "Khách lẻ",
        "hoa_don_chi_tiet": [line],
        **fields,
    }


def receipt(
    code: str = "PN-S01-000021", *, ma_co_so: str = _FACILITY, **fields: Any
) -> dict[str, Any]:
    """A purchase receipt (`phieu_nhap`) of one line; `fields` replace header fields."""
    return {
        "ma_phieu": code,
        "ma_co_so": ma_co_so,
        "ngay_nhap": "20261028",
        "loai_phieu_nhap": 1,
        "ten_co_so_cung_cap": "Công ty TNHH Dược phẩm Sao Khuê Demo",
        "chi_tiet": [_slip_line(so_luong=2000, don_gia=350)],
        **fields,
    }


def slip(
    code: str = "PX-S01-000004", *, ma_co_so: str = _FACILITY, **fields: Any
) -> dict[str, Any]:
    """A goods issue slip (`phieu_xuat`) of one line; `fields` replace header fields."""
    return {
        "ma_phieu": code,
        "ma_co_so": ma_co_so,
        "ngay_xuat": "20261106",
        "loai_phieu_xuat": 2,
        "ghi_chu": "Trả lô cận hạn",
        "ten_co_so_nhan": "Công ty TNHH TM Dược Lạc Việt Demo",
        "chi_tiet": [_slip_line(so_luong=40, don_gia=5200)],
        **fields,
    }


def example(
    resource: str, code: str = "CODE-1", *, ma_co_so: str = _FACILITY, **fields: Any
) -> dict[str, Any]:
    """A valid document of a kind."""
    make = {"hoa_don": sale, "phieu_nhap": receipt, "phieu_xuat": slip}[resource]
    return make(code, ma_co_so=ma_co_so, **fields)


def _slip_line(**numbers: int) -> dict[str, Any]:
    return {**_DRUG, "so_dklh": "VD-31422-19", "don_vi_tinh": "Viên", **numbers}
