"""Texts of `dqg pause` and `dqg resume`."""

TEXTS = {
    "--why is empty": "--why đang trống",
    "{what}: {breaker} is {state}": "{what}: {breaker} đang ở trạng thái {state}",
    "shop {shop} has no active account of its own in AccountShop": (
        "cửa hàng {shop} không có tài khoản riêng đang hoạt động trong AccountShop"
    ),
}
