"""`dqg accounts`."""

TEXTS = {
    "How the passwords of AccountShop are stored.": "Cách lưu mật khẩu trong AccountShop.",
    "Print a new key for DQG_API__ACCOUNT_KEY. It is stored nowhere.": (
        "In một khóa mới cho DQG_API__ACCOUNT_KEY. Khóa không được lưu ở đâu cả."
    ),
    "Encrypt every password that is plain, or encrypted with another key than the first.": (
        "Mã hóa mọi mật khẩu chưa mã hóa, hoặc được mã hóa bằng khóa không phải khóa đầu tiên."
    ),
    "Store every password plain again, as other software reads it.": (
        "Lưu lại mọi mật khẩu ở dạng không mã hóa, như các phần mềm khác đọc được."
    ),
    "plain": "chưa mã hóa",
    "encrypted": "đã mã hóa",
    "encrypted with an older key": "đã mã hóa bằng khóa cũ",
    "encrypted, no key fits": "đã mã hóa, không có khóa phù hợp",
    "no password": "không có mật khẩu",
    "{count} accounts in AccountShop": "{count} tài khoản trong AccountShop",
    "converting": "đang chuyển đổi",
    "before": "trước",
    "now": "hiện tại",
    "accounts": "tài khoản",
    "shop {shop}, pharmacy {pharmacy}: encrypted, and no key in DQG_API__ACCOUNT_KEY fits": (
        "cửa hàng {shop}, cơ sở {pharmacy}: đã mã hóa, không khóa nào trong "
        "DQG_API__ACCOUNT_KEY phù hợp"
    ),
    "Nothing was changed. With --yes, {count} would be converted.": (
        "Chưa thay đổi gì. Với --yes, {count} tài khoản sẽ được chuyển đổi."
    ),
}
