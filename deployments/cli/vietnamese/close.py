"""`dqg close` and `dqg close verify`."""

TEXTS = {
    "Close a day: compare every document of it across all stores, and write the proof.\n\n"
    "The exit status is 0 only where everything is accepted and all stores agree.": (
        "Khóa sổ một ngày: đối chiếu từng chứng từ ở mọi nơi lưu trữ và ghi ra bằng chứng.\n\n"
        "Mã thoát là 0 chỉ khi mọi chứng từ được chấp nhận và mọi nơi lưu trữ khớp nhau."
    ),
    "Is a file still what `dqg close` wrote? If not, the exit status is 1.": (
        "Tệp có còn đúng như `dqg close` đã ghi không? Nếu không, mã thoát là 1."
    ),
    "the documents' own date, e.g. 2026-11-02; by default yesterday in Vietnam": (
        "ngày trên chứng từ, ví dụ 2026-11-02; mặc định là hôm qua theo giờ Việt Nam"
    ),
    "look up so many documents of each shop and kind at the API; 0 for none": (
        "số chứng từ của mỗi cửa hàng và mỗi loại được tra cứu trên API; 0 là không tra cứu"
    ),
    "the file; by default daily-close-DATE.csv in the current folder": (
        "tệp kết quả; mặc định là daily-close-DATE.csv trong thư mục hiện tại"
    ),
    "replace a file that is there": "ghi đè tệp đã có",
    "written by `dqg close`": "tệp do `dqg close` ghi",
    "the checksum as it was noted elsewhere, e.g. in Prefect": (
        "mã kiểm tra đã ghi lại ở nơi khác, ví dụ trong Prefect"
    ),
    "{value!r} is no date; write it like 2026-11-02": (
        "{value!r} không phải là ngày; hãy viết như 2026-11-02"
    ),
    "{path} is there already; --overwrite replaces it": (
        "{path} đã có sẵn; dùng --overwrite để ghi đè"
    ),
    # the table
    "Daily close of {day}": "Khóa sổ ngày {day}",
    "pipeline": "luồng",
    "shop": "cửa hàng",
    "document": "chứng từ",
    "sent": "đã gửi",
    "accepted": "được chấp nhận",
    "open": "chưa xong",
    "in the logs": "theo nhật ký",
    "at the API": "trên API",
    "difference": "chênh lệch",
    "differences": "số chênh lệch",
    "amount accepted": "số tiền được chấp nhận",
    "{count} differences": "{count} chênh lệch",
    "{shown} of {count} differences; the file has all": (
        "{shown} trong {count} chênh lệch; tệp có đầy đủ"
    ),
    "closed: everything is accepted, and all stores agree": (
        "đã khóa: mọi chứng từ được chấp nhận và mọi nơi lưu trữ khớp nhau"
    ),
    "not closed": "chưa khóa được",
    "no artifact was made: {error}": "không tạo được artifact: {error}",
    # what is being read
    "source database": "cơ sở dữ liệu nguồn",
    "logs": "nhật ký",
    "national API": "API quốc gia",
    # differences
    "accepted, but without a national id": "được chấp nhận nhưng không có mã quốc gia",
    "another document of the day has the same national id": (
        "một chứng từ khác trong ngày có cùng mã quốc gia"
    ),
    "the pharmacy has another document of the day with the same code": (
        "nhà thuốc có một chứng từ khác trong ngày cùng mã"
    ),
    "accepted in the source database, and nothing about it in the logs": (
        "được chấp nhận trong cơ sở dữ liệu nguồn, nhật ký không có gì"
    ),
    "accepted in the source database, but not in the logs": (
        "được chấp nhận trong cơ sở dữ liệu nguồn nhưng không theo nhật ký"
    ),
    "accepted in the logs, but not in the source database": (
        "được chấp nhận theo nhật ký nhưng không trong cơ sở dữ liệu nguồn"
    ),
    "the logs have another national id": "nhật ký có mã quốc gia khác",
    "accepted here, but the API does not have it": "ở đây được chấp nhận nhưng API không có",
    "the API has another national id": "API có mã quốc gia khác",
    "not accepted here, but the API has it": "ở đây chưa được chấp nhận nhưng API đã có",
    "its status is none that this system knows": "trạng thái không phải của hệ thống này",
    # verify
    "unchanged: {count} documents": "không thay đổi: {count} chứng từ",
    "--sha256 compares it with the checksum that was noted elsewhere": (
        "--sha256 so sánh với mã kiểm tra đã ghi lại ở nơi khác"
    ),
    "the file was changed": "tệp đã bị thay đổi",
    "its rows give {sha256}": "các dòng cho {sha256}",
    "it should be {sha256}": "lẽ ra phải là {sha256}",
}
