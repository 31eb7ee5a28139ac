"""Texts of `dqg status`."""

TEXTS = {
    "Documents (succeeded and failed: today)": "Chứng từ (thành công và bị lỗi: trong hôm nay)",
    "Pipelines": "Các luồng",
    "pending": "chờ gửi",
    "in flight": "đang gửi",
    "succeeded": "thành công",
    "open failures": "lỗi chưa xử lý",
    "oldest pending": "chờ lâu nhất",
    "account": "tài khoản",
    "workers online": "worker đang chạy",
    "no such pool": "không có nhóm này",
    "none needed": "không cần",
    "nothing needs attention": "không có gì cần chú ý",
    "breakers are not known": "không biết trạng thái ngắt mạch",
    "{state}, {time} left": "{state}, còn {time}",
    "{name} is {state}: {reason}": "{name} đang ở trạng thái {state}: {reason}",
    "there is no work pool {name}: python -m deployments.server.work_pools": (
        "không có nhóm máy chạy {name}: python -m deployments.server.work_pools"
    ),
    "pool {name}: {why}": "nhóm {name}: {why}",
    "{count} failures of {name} wait for a decision: dqg failures group": (
        "{count} lỗi của luồng {name} chờ quyết định: dqg failures group"
    ),
    "--watch and --json exclude each other": "không dùng --watch và --json cùng lúc",
}
