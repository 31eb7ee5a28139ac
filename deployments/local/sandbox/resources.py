"""The three kinds of document as the API names them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Resource:
    """One kind of document.

    Attributes:
        name: last part of the path.
        code_field: the pharmacy's own code in the request.
        lines_field: the array of document lines.
        label: name of the document in messages.
        prefix: of the national codes.
    """

    name: str
    code_field: str
    lines_field: str
    label: str
    prefix: str

    @property
    def national_field(self) -> str:
        return f"ma_{self.name}_quoc_gia"


RESOURCES: dict[str, Resource] = {
    resource.name: resource
    for resource in (
        Resource("hoa_don", "ma_hoa_don", "hoa_don_chi_tiet", "hóa đơn", "HD_QG_"),
        Resource("phieu_nhap", "ma_phieu", "chi_tiet", "phiếu nhập", "PN_QG_"),
        Resource("phieu_xuat", "ma_phieu", "chi_tiet", "phiếu xuất", "PX_QG_"),
    )
}
