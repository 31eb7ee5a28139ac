"""Texts of `dqg send`."""

TEXTS = {
    "Send one document now, whatever its status, and follow it to its end.\n\n"
    "The exit status is 0 only if it was accepted.": (
        "Gửi ngay một chứng từ, bất kể trạng thái, và theo dõi đến khi xong.\n\n"
        "Mã thoát chỉ là 0 khi chứng từ được chấp nhận."
    ),
    "even if it is accepted already": "kể cả khi chứng từ đã được chấp nhận",
    "seconds to follow it; the run goes on after that": (
        "số giây theo dõi; sau đó lần chạy vẫn tiếp tục"
    ),
    "{pipeline} {document} of {shop}, now {status}: run {run}": (
        "{pipeline} {document} của {shop}, hiện là {status}: lần chạy {run}"
    ),
    "{document} is accepted already as {national_id}: only --force sends it again": (
        "{document} đã được chấp nhận với mã {national_id}: chỉ --force mới gửi lại"
    ),
    "there is no deployment {name}: prefect --no-prompt deploy --all": (
        "không có deployment {name}: prefect --no-prompt deploy --all"
    ),
    "no answer: see in the UI whether a run was started": (
        "không trả lời: hãy xem trên giao diện lần chạy đã bắt đầu chưa"
    ),
    "{error}: still trying": "{error}: vẫn đang thử lại",
    "the run still waits: {why}": "lần chạy vẫn đang chờ: {why}",
    "there is no work pool {name}": "không có nhóm máy chạy {name}",
    "a worker is online, and busy or just starting it": (
        "có worker đang chạy, nhưng đang bận hoặc vừa bắt đầu"
    ),
    "accepted as {national_id}": "đã được chấp nhận với mã {national_id}",
    "after {seconds} s the run has not begun: {why}; it goes on waiting": (
        "sau {seconds} giây lần chạy chưa bắt đầu: {why}; nó vẫn tiếp tục chờ"
    ),
    "after {seconds} s the run has not ended ({why}); it goes on": (
        "sau {seconds} giây lần chạy chưa xong ({why}); nó vẫn tiếp tục"
    ),
    "no longer followed; the run goes on": "không theo dõi nữa; lần chạy vẫn tiếp tục",
    "not accepted, {status}: {reason}": "không được chấp nhận, {status}: {reason}",
}
