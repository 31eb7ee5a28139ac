"""The invented pharmacy chain of the demo: its shops, drugs and people."""

from __future__ import annotations

from typing import NamedTuple


class Shop(NamedTuple):
    """A shop of the demo chain."""

    code: str
    pharmacy_code: str
    name: str
    account: str
    address: str

    @property
    def short(self) -> str:
        return f"S{self.code[-2:]}"


class Drug(NamedTuple):
    """An entry of the demo catalogue."""

    code: str
    name: str
    concentration: str
    registration: str
    unit: str
    price: str
    route: str
    dosage: str


SHOPS = (
    Shop("SHOP01", "790760001234", "Nhà thuốc Hoa Sen Xanh", "demo_hoasen", "12 Lê Lợi, TP. HCM"),
    Shop("SHOP02", "010010005678", "Quầy thuốc Minh Tâm", "demo_minhtam", "5 Hàng Bồ, Hà Nội"),
    Shop("SHOP03", "480490009012", "Nhà thuốc Bình An Đà Nẵng", "demo_binhan", "8 Bạch Đằng"),
)

_CATALOGUE = """
DQG00010421|Paracetamol Sao Khuê 500mg|500mg|VD-31422-19|Viên|500|Uống|1 viên/lần, ngày 3 lần
DQG00010877|Amoxicillin TH 500mg|500mg|893110041224|Viên|1500|Uống|1 viên/lần, ngày 3 lần, 7 ngày
DQG00011203|Cefixim LV 200mg|200mg|VD-28764-18|Viên|6500|Uống|1 viên/lần, ngày 2 lần
DQG00011990|Omeprazol Thiên Hải 20mg|20mg|VD-25107-16|Viên|1200|Uống|1 viên trước ăn sáng
DQG00012044|Amlodipin SK 5mg|5mg|893110118723|Viên|800|Uống|1 viên buổi sáng
DQG00012318|Metformin Lạc Việt 850mg|850mg|VD-33015-19|Viên|900|Uống|1 viên, ngày 2 lần sau ăn
DQG00012760|Vitamin C TH 500mg|500mg|893100202124|Viên|450|Uống|1 viên/ngày
DQG00013155|Oresol hương cam|4,1g|VD-29950-18|Gói|2500|Uống|Pha 1 gói với 200ml nước
DQG00013402|Salbutamol HaiMed 100mcg|100mcg/liều|VN-20871-17|Bình|68000|Hít|2 nhát khi khó thở
DQG00013977|Dexamethason nhỏ mắt 5ml|5mg/5ml|VD-30218-18|Lọ|18000|Nhỏ mắt|1 giọt, ngày 4 lần
DQG00014260|Hydrocortison kem 15g|1%|VN-21544-18|Tuýp|32000|Bôi ngoài da|Bôi lớp mỏng ngày 2 lần
DQG00014611|Loratadin SK 10mg|10mg|893100087622|Viên|1000|Uống|1 viên/ngày
"""
DRUGS = tuple(Drug(*row.split("|")) for row in _CATALOGUE.strip().splitlines())
UNKNOWN_DRUG = "DQG99999999"

LOTS = ("SK240815", "TH0325A", "LV-2411-07", "0241125", "HM25C019")
SUPPLIERS = (
    "Công ty TNHH Dược phẩm Sao Khuê Demo",
    "Công ty CP Dược Thiên Hải Demo",
    "Công ty TNHH TM Dược Lạc Việt Demo",
)
SELLERS = ("DS. Trần Thu Hà", "DS. Lê Quốc Bảo")
BUYERS = ("Khách lẻ", "Nguyễn Thị Mai", "Phạm Văn Đức")
