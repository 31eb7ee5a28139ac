"""What `--help` says of commands and of options that several commands share."""

TEXTS = {
    "Watch and steer the sending of documents to the national database.": (
        "Theo dõi và điều khiển việc gửi chứng từ lên cơ sở dữ liệu Dược Quốc gia."
    ),
    "print JSON instead of tables": "in JSON thay cho bảng",
    "do it; without it only what would be done": "thực hiện; nếu không có thì chỉ xem trước",
    "the reason, kept with the failure record": "lý do, được lưu cùng bản ghi lỗi",
    "who decides; by default the login name": "người quyết định; mặc định là tên đăng nhập",
    "where several use the same local id": "khi nhiều nhà thuốc dùng chung một mã chứng từ",
    "the document": "chứng từ",
    "one document": "một chứng từ",
    "only of this one": "chỉ của luồng này",
    "only of this shop's code": "chỉ của cửa hàng có mã này",
    "only of this error class, e.g. rejected": "chỉ loại lỗi này, ví dụ rejected",
    "only with this text in the error": "chỉ những lỗi có đoạn chữ này",
    "only younger, e.g. 24h": "chỉ những lỗi mới hơn, ví dụ 24h",
    "only older, e.g. 7d": "chỉ những lỗi cũ hơn, ví dụ 7d",
    # status
    "Where the documents of each shop are, and what needs attention: then the exit status is 1.": (
        "Chứng từ của từng cửa hàng đang ở đâu và điều gì cần chú ý: khi đó mã thoát là 1."
    ),
    "show it anew until Ctrl-C": "hiển thị lại liên tục cho đến khi bấm Ctrl-C",
    "seconds between two looks": "số giây giữa hai lần xem",
    # failures
    "Documents that failed, and why.": "Các chứng từ bị lỗi và lý do.",
    "Failures, newest first.": "Danh sách lỗi, mới nhất trước.",
    "Failures folded by reason, field and drug code, the largest group first.\n\n"
    "A document with several wrong fields is in several groups.": (
        "Gộp lỗi theo lý do, trường và mã thuốc, nhóm lớn nhất trước.\n\n"
        "Chứng từ có nhiều trường sai thì nằm trong nhiều nhóm."
    ),
    "One failure whole: payload (names of persons too), answer, every attempt, its runs.": (
        "Toàn bộ một lỗi: nội dung gửi (có cả họ tên), câu trả lời, từng lần gửi, các lần chạy."
    ),
    "of the failure, or of the document": "mã của lỗi, hoặc của chứng từ",
    "of which failure records": "trạng thái của bản ghi lỗi",
    "show at most so many": "hiển thị nhiều nhất bấy nhiêu",
    # requeue, resolve
    "Make failed documents pending again: one, those of a filter, or a whole group.": (
        "Đưa chứng từ lỗi về trạng thái chờ gửi: một chứng từ, theo bộ lọc, hoặc cả nhóm."
    ),
    "of `dqg failures group`": "mã nhóm theo `dqg failures group`",
    "Mark a failed document as entered by hand at the portal: it is never sent again.": (
        "Đánh dấu chứng từ lỗi là đã nhập tay trên cổng: không bao giờ gửi lại."
    ),
    "its code at the portal": "mã của chứng từ trên cổng",
    # pause, resume
    "Send nothing of a pipeline or shop for now.": "Tạm ngừng gửi của một luồng hoặc cửa hàng.",
    "Let a pipeline or shop go on.": "Cho một luồng hoặc cửa hàng gửi tiếp.",
    "Hold a pipeline until it is resumed. What is on its way to the API still ends.": (
        "Tạm dừng một luồng cho đến khi cho chạy tiếp. Chứng từ đang gửi vẫn được gửi xong."
    ),
    "Hold a shop's accounts until it is resumed. Shops that share an account pause with it.": (
        "Tạm dừng tài khoản của một cửa hàng cho đến khi cho chạy tiếp. "
        "Cửa hàng dùng chung tài khoản cũng tạm dừng."
    ),
    "Let a pipeline go on, also one that its breaker had paused.": (
        "Cho một luồng chạy tiếp, kể cả luồng do hệ thống tự tạm dừng."
    ),
    "Let a shop go on, also one whose account had been refused.": (
        "Cho một cửa hàng gửi tiếp, kể cả khi tài khoản từng bị từ chối."
    ),
    "import, sale, cancellation": "import, sale, cancellation",
    "code of the shop": "mã cửa hàng",
    "the reason, shown wherever the pause is": "lý do, hiển thị ở mọi nơi nói về việc tạm dừng",
}
