"""Texts of `dqg installation`."""

TEXTS = {
    "Which database documents are sent from: a restored copy sends nothing.": (
        "Chứng từ được gửi từ cơ sở dữ liệu nào: bản phục hồi không gửi gì."
    ),
    "Where this is and what is recorded; exit status 1 where nothing is sent from here.": (
        "Đây là đâu và đã ghi nhận nơi nào; mã thoát là 1 nếu không gửi gì từ đây."
    ),
    "Record this database as the one to send from. Its pending documents are sent from then on.": (
        "Ghi nhận cơ sở dữ liệu này là nơi gửi. Từ đó các chứng từ đang chờ sẽ được gửi."
    ),
    "the reason, kept with the record": "lý do, được lưu cùng bản ghi",
    "what was recorded stays valid: replicas that take turns, for example": (
        "những nơi đã ghi nhận vẫn có hiệu lực: ví dụ các bản sao luân phiên nhau"
    ),
    "--why is empty or longer than 500 characters": "--why bị trống hoặc dài hơn 500 ký tự",
    "Recorded": "Đã ghi nhận",
    "server": "máy chủ",
    "database": "cơ sở dữ liệu",
    "valid": "hiệu lực",
    "before cut-off": "trước ngày bắt đầu",
    "who": "ai",
    "yes": "có",
    "no": "không",
    "documents are sent from here: {place}": "chứng từ được gửi từ đây: {place}",
}
