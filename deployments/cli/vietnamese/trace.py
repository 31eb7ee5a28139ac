"""Texts of `dqg trace`."""

TEXTS = {
    "Everything that happened to a document, in order of time, from all stores.\n\n"
    "The exit status is 1 where nothing is known of it, or a store is away.": (
        "Mọi việc đã xảy ra với một chứng từ, theo thời gian, từ mọi nơi lưu trữ.\n\n"
        "Mã thoát là 1 khi không biết gì về nó, hoặc một nơi lưu trữ không trả lời."
    ),
    "claimed and dispatched": "được nhận và giao đi",
    "taken by hand": "được gửi bằng tay",
    "its run began": "bắt đầu xử lý",
    "call to the API": "gọi API",
    "accepted by the API": "API đã chấp nhận",
    "log closed": "đóng nhật ký",
    "recorded as failed": "ghi nhận lỗi",
    "made pending again": "đưa về chờ gửi",
    "resolved": "đã xử lý",
    "run began": "lần chạy bắt đầu",
    "run ended": "lần chạy kết thúc",
    "run has not begun": "lần chạy chưa bắt đầu",
    "{pipeline} {document} of {shop}, pharmacy {pharmacy}": (
        "{pipeline} {document} của {shop}, cơ sở {pharmacy}"
    ),
    "time (UTC{zone})": "thời gian (UTC{zone})",
    "store": "nơi lưu",
    "what": "việc",
    "details": "chi tiết",
    "What happened": "Diễn biến",
    "nothing is known of {document}": "không biết gì về {document}",
    "not known": "không rõ",
    "its row is gone": "dòng dữ liệu không còn",
    "national id": "mã quốc gia",
    "message": "thông báo",
    "held by claim": "đang bị giữ bởi",
    "lease": "thời hạn giữ",
    "until {time}": "đến {time}",
    "ran out at {time}": "đã hết hạn lúc {time}",
    "attempts": "số lần thử",
    "not before": "không gửi trước",
    "yes: it is looked up before it is sent": "có: sẽ được tra cứu trước khi gửi",
    "written at": "được tạo lúc",
}
