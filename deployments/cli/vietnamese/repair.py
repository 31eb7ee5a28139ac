"""Texts of `dqg requeue` and `dqg resolve`."""

TEXTS = {
    "a local id goes with --pipeline and --pharmacy-code only": (
        "mã chứng từ chỉ đi cùng --pipeline và --pharmacy-code"
    ),
    "--pharmacy-code goes with a local id": "--pharmacy-code phải đi cùng mã chứng từ",
    "say which: a local id, --group, or a filter such as --pipeline": (
        "hãy cho biết chứng từ nào: mã chứng từ, --group, hoặc bộ lọc như --pipeline"
    ),
    "--national-id is empty": "--national-id đang trống",
    "--yes needs --why: the reason is kept": "--yes cần --why: lý do sẽ được lưu lại",
    "there is no open failure in a group {group}": "không có lỗi chưa xử lý nào trong nhóm {group}",
    "left alone: it is {status} and held by a run": (
        "giữ nguyên: đang là {status} và đang được một lần chạy xử lý"
    ),
    "left alone: it is {status}": "giữ nguyên: đang là {status}",
    "left alone: it changed meanwhile": "giữ nguyên: trong lúc đó đã thay đổi",
    "making documents pending": "đang đưa chứng từ về chờ gửi",
    "pending again": "đã về chờ gửi",
    "already marked": "đã được đánh dấu",
    "marked as {national_id}": "đã đánh dấu là {national_id}",
    "went away: {count} documents are {state}, but it is not kept who did it and why": (
        "mất kết nối: {count} chứng từ đã {state}, nhưng không lưu được ai làm và vì sao"
    ),
    "Nothing was changed. With --yes and --why, {count} would be made pending again.": (
        "Chưa có gì bị thay đổi. Với --yes và --why, {count} chứng từ sẽ về chờ gửi."
    ),
    "Nothing was changed. With --yes and --why, {count} would be marked as entered by hand.": (
        "Chưa có gì bị thay đổi. Với --yes và --why, {count} chứng từ sẽ được đánh dấu nhập tay."
    ),
    "Each of them": "Từng chứng từ",
}
