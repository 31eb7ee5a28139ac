"""Words and messages that several commands share."""

TEXTS = {
    "pipeline": "luồng",
    "shop": "cửa hàng",
    "pharmacy": "cơ sở",
    "document": "chứng từ",
    "documents": "chứng từ",
    "{count} documents": "{count} chứng từ",
    "status": "trạng thái",
    "state": "trạng thái bản ghi",
    "reason": "lý do",
    "class": "loại lỗi",
    "when": "thời điểm",
    "why": "lý do quyết định",
    "result": "kết quả",
    "failed": "bị lỗi",
    "unconfirmed": "chưa rõ kết quả",
    "breaker": "ngắt mạch",
    "{number} d": "{number} ngày",
    "{number} h": "{number} giờ",
    "{number} min": "{number} phút",
    "{number} s": "{number} giây",
    "error: {text}": "lỗi: {text}",
    "{part} is away: {why}": "{part} không trả lời: {why}",
    "away, nothing was changed": "không trả lời, chưa có gì bị thay đổi",
    "PREFECT_API_URL is not set: it says where the Prefect server is": (
        "chưa đặt PREFECT_API_URL: biến này cho biết máy chủ Prefect ở đâu"
    ),
    "the work pool is paused": "nhóm máy chạy đang tạm dừng",
    "no worker is online": "không có worker nào đang chạy",
    "{text} is no age; write 30m, 24h, 7d or 2w": (
        "{text} không phải khoảng thời gian; hãy viết 30m, 24h, 7d hoặc 2w"
    ),
    "there is no document {local_id}": "không có chứng từ {local_id}",
    "there is more than one document {local_id}: name --pipeline and --pharmacy-code, "
    "one of {places}": (
        "có nhiều chứng từ {local_id}: hãy thêm --pipeline và --pharmacy-code, một trong {places}"
    ),
    "reading failures": "đang đọc danh sách lỗi",
    "reading drug codes": "đang đọc mã thuốc",
    "reading documents": "đang đọc chứng từ",
}
