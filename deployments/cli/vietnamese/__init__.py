"""Vietnamese texts of `dqg`: one module a command, each with `TEXTS`, English to Vietnamese.

Placeholders such as `{count}` are the same in both. See `deployments/cli/language.py`.
"""
