"""`dqg accounts`: encrypts or decrypts the stored passwords of AccountShop."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any

import typer
from pydantic import SecretStr
from rich.text import Text

from deployments.cli.context import ATTENTION, AsJson, open_operator, print_json, run
from deployments.cli.language import N_, _, _n
from deployments.cli.output import console, number, table
from deployments.cli.progress import progress
from lib.errors import PasswordUnreadable
from lib.operations.operator import Operator
from lib.settings.encryption import PasswordBox, new_key
from lib.source.accounts import ShopAccount, StoredPassword

app = typer.Typer(help="How the passwords of AccountShop are stored.", no_args_is_help=True)

Yes = Annotated[
    bool, typer.Option("--yes", help="carry it out; without --yes only a preview is shown")
]
_BLANK = SecretStr("")


class PasswordState(StrEnum):
    """How a password is stored."""

    PLAIN = "plain"
    ENCRYPTED = "encrypted"  # with the first key
    OLDER_KEY = "older key"  # encrypted, with one of the other keys
    UNREADABLE = "unreadable"  # encrypted, and no key can decrypt it
    BLANK = "blank"  # no password


_WORDS = {
    PasswordState.PLAIN: N_("plain"),
    PasswordState.ENCRYPTED: N_("encrypted"),
    PasswordState.OLDER_KEY: N_("encrypted with an older key"),
    PasswordState.UNREADABLE: N_("encrypted, no key decrypts it"),
    PasswordState.BLANK: N_("no password"),
}


@dataclass(slots=True)
class Result:
    """The result for one account; `after` is None while nothing has been changed."""

    account: ShopAccount
    before: PasswordState
    wanted: bool
    after: PasswordState | None = None

    @property
    def now(self) -> PasswordState:
        return self.after or self.before


@app.command("key")
def key(json: AsJson = False) -> None:
    """Print a new key for DQG_API__ACCOUNT_KEY. It is stored nowhere."""
    made = new_key()
    if json:
        print_json({"key": made})
    else:
        typer.echo(made)


@app.command("encrypt")
def encrypt(yes: Yes = False, json: AsJson = False) -> None:
    """Encrypt every password that is plain text or encrypted with a key other than the first."""
    run(_convert(yes, json, _encrypted), as_json=json)


@app.command("decrypt")
def decrypt(yes: Yes = False, json: AsJson = False) -> None:
    """Decrypt every password and store it as plain text, which other software can read."""
    run(_convert(yes, json, _decrypted), as_json=json)


Change = Callable[[PasswordBox, StoredPassword], StoredPassword]


async def _convert(yes: bool, json: bool, change: Change) -> int:
    async with open_operator() as operator:
        box = PasswordBox(operator.settings.api.account_key)
        box.check()
        results = await _look(operator, box, change)
        if yes:
            pending = [result for result in results if result.wanted]
            with progress(_("converting"), len(pending), shown=not json) as advance:
                for result in pending:
                    await _carry_out(operator, box, result, change)
                    advance(1)
    (_print_json if json else _print)(results, yes)
    return ATTENTION if any(result.now is PasswordState.UNREADABLE for result in results) else 0


async def _look(operator: Operator, box: PasswordBox, change: Change) -> list[Result]:
    results = []
    for account in await asyncio.to_thread(operator.source.accounts.all):
        stored = StoredPassword(account.password, account.encrypted_password)
        state = _password_state(box, stored)
        wanted = state is not PasswordState.UNREADABLE and change(box, stored) != stored
        results.append(Result(account, state, wanted))
    return results


async def _carry_out(operator: Operator, box: PasswordBox, result: Result, change: Change) -> None:
    stored = await asyncio.to_thread(
        operator.source.accounts.change_password, result.account, lambda before: change(box, before)
    )
    # None: the account was deleted in the meantime, so it has no password any more.
    result.after = PasswordState.BLANK if stored is None else _password_state(box, stored)


def _password_state(box: PasswordBox, stored: StoredPassword) -> PasswordState:
    if stored.is_plain:
        return PasswordState.PLAIN
    if not stored.encrypted:
        return PasswordState.BLANK
    try:
        return (
            PasswordState.ENCRYPTED if box.is_current(stored.encrypted) else PasswordState.OLDER_KEY
        )
    except PasswordUnreadable:
        return PasswordState.UNREADABLE


def _encrypted(box: PasswordBox, stored: StoredPassword) -> StoredPassword:
    """Encrypts the password with the first key, and checks that it can be decrypted.

    Raises:
        PasswordUnreadable: the encrypted password does not decrypt to the original one.
    """
    state = _password_state(box, stored)
    if state not in (PasswordState.PLAIN, PasswordState.OLDER_KEY):
        return stored
    password = stored.plain if stored.is_plain else box.decrypt(stored.encrypted or "")
    token = box.encrypt(password)
    if box.decrypt(token) != password:
        raise PasswordUnreadable("an encrypted password does not decrypt to the original password")
    return StoredPassword(_BLANK, token)


def _decrypted(box: PasswordBox, stored: StoredPassword) -> StoredPassword:
    if stored.is_plain or not stored.encrypted:
        # A plain password is newer than an encrypted one of the same account.
        return StoredPassword(stored.plain, None)
    return StoredPassword(box.decrypt(stored.encrypted), None)


def _print_json(results: list[Result], yes: bool) -> None:
    accounts: list[dict[str, Any]] = [
        {
            "shop": result.account.shop_pharmacy_code,
            "pharmacy_code": result.account.pharmacy_code,
            "before": result.before.value,
            "now": result.now.value,
        }
        for result in results
    ]
    counts = Counter(result.now.value for result in results)
    print_json({"dry_run": not yes, "counts": counts, "accounts": accounts})


def _print(results: list[Result], yes: bool) -> None:
    out = console()
    counts = Counter((result.before, result.now) for result in results)
    rows = [(_(_WORDS[was]), _(_WORDS[now]), number) for (was, now), number in counts.items()]
    title = _n("{count} account in AccountShop", "{count} accounts in AccountShop", len(results))
    out.print(table(title, [_("before"), _("now"), number(_("accounts"))], rows))
    for result in results:
        if result.now is PasswordState.UNREADABLE:
            out.print(
                Text(
                    _(
                        "shop {shop}, pharmacy {pharmacy}: no key in DQG_API__ACCOUNT_KEY "
                        "decrypts the password",
                        shop=result.account.shop_pharmacy_code,
                        pharmacy=result.account.pharmacy_code,
                    )
                )
            )
    wanted = sum(result.wanted for result in results)
    if not yes:
        out.print(
            Text(_("Nothing was changed. With --yes, {count} would be converted.", count=wanted))
        )
