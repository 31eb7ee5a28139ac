"""Texts of `dqg config`."""

TEXTS = {
    "The settings.": "Các thiết lập.",
    "Every setting with its value and where it comes from; passwords are hidden.": (
        "Mọi thiết lập, giá trị và nguồn của nó; mật khẩu được che đi."
    ),
    "only those that are not the default": "chỉ những thiết lập khác mặc định",
    "{count} settings": "{count} thiết lập",
    "setting": "thiết lập",
    "value": "giá trị",
    "from": "nguồn",
    "default": "mặc định",
    "environment": "môi trường",
    "file": "tệp",
    "There is no file of settings.": "Không có tệp thiết lập.",
    "File of settings: {path}": "Tệp thiết lập: {path}",
}
