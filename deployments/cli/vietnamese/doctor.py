"""Texts of `dqg doctor`."""

TEXTS = {
    "Look at every part of the installation, and say what to do about what is wrong.\n\n"
    "Changes nothing. Exit status 1 unless all is well. Each account logs in once at most; one "
    "that is refused pauses as it would in a run.": (
        "Kiểm tra từng phần của hệ thống và cho biết cách xử lý chỗ sai.\n\n"
        "Không thay đổi gì. Mã thoát là 1 nếu có chỗ chưa ổn. Mỗi tài khoản đăng nhập nhiều nhất "
        "một lần; tài khoản bị từ chối sẽ tạm dừng như khi chạy thật."
    ),
    # the table
    "Checks": "Các mục kiểm tra",
    "check": "mục",
    "verdict": "kết quả",
    "what was found": "tình trạng",
    "what to do": "cách xử lý",
    "ok": "tốt",
    "fault": "lỗi",
    "not checked": "chưa kiểm tra",
    "examining": "đang kiểm tra",
    "all is well": "mọi thứ đều ổn",
    "{count} faults": "{count} lỗi",
    "needs {checks} to be in order": "cần {checks} ổn trước đã",
    "the check itself failed: {error}": "không kiểm tra được: {error}",
    # settings and source database
    "all are there, and possible": "đầy đủ và hợp lệ",
    "correct it in .env or in the environment: docs/settings.md": (
        "sửa trong .env hoặc trong biến môi trường: docs/settings.md"
    ),
    "correct the settings: docs/settings.md": "sửa các thiết lập: docs/settings.md",
    "none is needed: the source database is no SQL Server": (
        "không cần: cơ sở dữ liệu nguồn không phải SQL Server"
    ),
    "there: {driver}": "có: {driver}",
    "as the address says": "như địa chỉ đã ghi",
    "correct DQG_SOURCE__URL or DQG_SOURCE__ODBC_DRIVER, or install a driver": (
        "sửa DQG_SOURCE__URL hoặc DQG_SOURCE__ODBC_DRIVER, hoặc cài trình điều khiển"
    ),
    "it answers": "có trả lời",
    "see that the server runs and can be reached, and check DQG_SOURCE__URL": (
        "xem máy chủ có chạy và kết nối được không, kiểm tra DQG_SOURCE__URL"
    ),
    "let the service's login read the tables: docs/installation.md": (
        "cấp quyền đọc các bảng cho tài khoản của dịch vụ: docs/installation.md"
    ),
    "there is no table {table}": "không có bảng {table}",
    "DQG_SOURCE__DB_SCHEMA and DQG_SOURCE__TABLES say where it is": (
        "chỉ ra bảng bằng DQG_SOURCE__DB_SCHEMA và DQG_SOURCE__TABLES"
    ),
    "{table} lacks {columns}: a migration is missing": (
        "{table} thiếu {columns}: chưa chạy bước nâng cấp cơ sở dữ liệu"
    ),
    "migration {wanted} has not been run; the last one was {last}": (
        "chưa chạy bước nâng cấp {wanted}; bước gần nhất là {last}"
    ),
    "none": "không có",
    "the database has a migration this checkout does not know": (
        "cơ sở dữ liệu có bước nâng cấp mà bản mã nguồn này không biết"
    ),
    "bring this checkout up to date": "cập nhật bản mã nguồn này",
    "the newest has been run": "đã chạy bước mới nhất",
    "index {index} is missing": "thiếu chỉ mục {index}",
    "make them again: `alembic upgrade sync@head --sql` writes the CREATE INDEX statements; "
    "without them claims read every document": (
        "tạo lại: `alembic upgrade sync@head --sql` in ra các lệnh CREATE INDEX; thiếu chỉ mục thì "
        "mỗi lần lấy việc phải đọc mọi chứng từ"
    ),
    "all are there": "có đủ",
    "recorded: {place}": "đã ghi nhận: {place}",
    "look at ./dqg installation show": "xem ./dqg installation show",
    # other stores, clocks
    "start MongoDB or correct DQG_MONGO__URL; meanwhile nothing is logged": (
        "khởi động MongoDB hoặc sửa DQG_MONGO__URL; trong lúc đó không ghi được nhật ký"
    ),
    "start Redis or correct DQG_REDIS__URL; meanwhile processes share no breakers": (
        "khởi động Redis hoặc sửa DQG_REDIS__URL; trong lúc đó các tiến trình không dùng chung "
        "trạng thái tạm dừng"
    ),
    "no other clock can be read": "không đọc được đồng hồ nào khác",
    "the clock of {part} differs from the others by {seconds} s": (
        "đồng hồ của {part} lệch {seconds} giây so với các đồng hồ khác"
    ),
    "have it set by NTP; leases follow the source database's clock": (
        "đặt giờ qua NTP; thời hạn giữ chứng từ theo đồng hồ của cơ sở dữ liệu nguồn"
    ),
    "these agree: {parts}": "khớp nhau: {parts}",
    # national API
    "{address} is on this machine": "{address} ở ngay trên máy này",
    "{address} is not encrypted: passwords can be read on the way": (
        "{address} không được mã hóa: mật khẩu có thể bị đọc trên đường truyền"
    ),
    "set DQG_API__BASE_URL to an https address and take DQG_API__ALLOW_HTTP away": (
        "đặt DQG_API__BASE_URL là địa chỉ https và bỏ DQG_API__ALLOW_HTTP"
    ),
    "see that DQG_API__BASE_URL is right and can be reached from here": (
        "xem DQG_API__BASE_URL có đúng và từ đây có kết nối được không"
    ),
    "no account is active in AccountShop, and none is in the settings": (
        "AccountShop không có tài khoản nào hoạt động, trong thiết lập cũng không có"
    ),
    "enter the shops' accounts in AccountShop": "nhập tài khoản của các cửa hàng vào AccountShop",
    "enter its account in AccountShop; until then its documents wait": (
        "nhập tài khoản của cửa hàng vào AccountShop; trong lúc đó chứng từ phải chờ"
    ),
    "the settings": "thiết lập",
    "{shops}: held by hand ({reason}), not tried": (
        "{shops}: đang dừng thủ công ({reason}), không thử"
    ),
    "{shops}: paused after a refused login ({reason}), not tried again": (
        "{shops}: tạm dừng vì đăng nhập bị từ chối ({reason}), không thử lại"
    ),
    "correct the password in AccountShop, which ends the pause, or: ./dqg resume shop": (
        "sửa mật khẩu trong AccountShop thì hết tạm dừng, hoặc: ./dqg resume shop"
    ),
    "{shops}: the login is refused ({reason})": "{shops}: đăng nhập bị từ chối ({reason})",
    "correct user name and password in AccountShop; until then the shop pauses": (
        "sửa tên đăng nhập và mật khẩu trong AccountShop; trong lúc đó cửa hàng tạm dừng"
    ),
    "{shops}: logged in": "{shops}: đã đăng nhập",
    "{shops}: has a token that a run uses": "{shops}: đang có phiên đăng nhập được dùng",
    # Prefect
    "start the server, and set PREFECT_API_URL to its address": (
        "khởi động máy chủ và đặt PREFECT_API_URL là địa chỉ của nó"
    ),
    "look at the server's log": "xem nhật ký của máy chủ",
    "it refuses us: HTTP {status}": "máy chủ từ chối: HTTP {status}",
    "set PREFECT_API_AUTH_STRING as the server has it": (
        "đặt PREFECT_API_AUTH_STRING giống như trên máy chủ"
    ),
    "it has version {theirs}, this machine {ours}": (
        "máy chủ dùng phiên bản {theirs}, máy này {ours}"
    ),
    "install the same version on server and workers": (
        "cài cùng một phiên bản trên máy chủ và các worker"
    ),
    "version {version}": "phiên bản {version}",
    "the server has no block types to tell it by": "máy chủ không có loại block nào để nhận biết",
    "it is SQLite, which answers 'database is locked' under load": (
        "đang dùng SQLite, khi tải cao sẽ báo 'database is locked'"
    ),
    "set PREFECT_SERVER_DATABASE_CONNECTION_URL to a PostgreSQL database": (
        "đặt PREFECT_SERVER_DATABASE_CONNECTION_URL trỏ tới PostgreSQL"
    ),
    "there is no work pool {pool}": "không có work pool {pool}",
    "there are no work pools": "không có work pool nào",
    "work pool {pool} is paused: nothing is claimed for it": (
        "work pool {pool} đang tạm dừng: không lấy việc cho nó"
    ),
    "no worker of pool {pool} is online": "không có worker nào của pool {pool} đang chạy",
    "there is no deployment {name}": "không có deployment {name}",
    "{name} runs on pool {wrong} instead of {right}": (
        "{name} chạy trên pool {wrong}, đúng ra là {right}"
    ),
    "the schedule of {name} is paused": "lịch chạy của {name} đang tạm dừng",
}
