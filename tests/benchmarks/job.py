"""The job as it is usually written: one document at a time, without claims, leases or groups.

Used by the Celery worker and by the stock flow that this project is compared with. Validation,
payload and parsing of answers come from this project, so that only the dispatch differs.
"""

from __future__ import annotations

import threading
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

import httpx
import pymongo
from sqlalchemy import select, update

from lib.accounts import AccountDirectory
from lib.errors import ConfigurationError, Rejected
from lib.models import Account, Document, DocumentRef, SyncStatus
from lib.pipelines import PIPELINES, Pipeline, get_pipeline
from lib.platforms.dqg.interpret import parse_login, parse_submit
from lib.platforms.dqg.payloads import build_payload
from lib.platforms.dqg.response import Reply
from lib.settings import Settings, load_settings
from lib.source.dialects import local_now
from lib.source.engine import create_source_engine
from lib.source.rows import by_standard_name, ref_columns, to_ref
from lib.source.store import open_source
from lib.source.tables import build_tables
from lib.tracking.log_collections import TASK_LOGS

UNCLAIMED = "-"


class Job:
    """Everything one process needs to send documents. May be shared by threads."""

    def __init__(self, settings: Settings) -> None:
        if settings.source.url is None:
            raise ConfigurationError("the benchmark needs DQG_SOURCE__URL")
        self._api = settings.api
        self._tables = build_tables(settings.source)
        self._engine = create_source_engine(settings.source.url.get_secret_value(), settings.source)
        store = open_source(self._engine, self._tables)
        self._accounts = AccountDirectory(store.accounts.all(), settings.api)
        mongo: pymongo.MongoClient[dict[str, Any]] = pymongo.MongoClient(
            settings.mongo.url.get_secret_value()
        )
        self._logs = mongo[settings.mongo.database][TASK_LOGS]
        self._http = httpx.Client(
            timeout=settings.api.read_timeout,
            limits=httpx.Limits(max_connections=settings.api.max_connections),
            trust_env=False,
        )
        self._tokens: dict[str, str] = {}
        self._login = threading.Lock()

    def pending(self, after: dict[str, int]) -> list[DocumentRef]:
        """Pending documents with an id above the given one of their pipeline, oldest first."""
        found = []
        with self._engine.connect() as connection:
            for pipeline in PIPELINES.values():
                header = self._tables.header(pipeline)
                rows = connection.execute(
                    select(*ref_columns(header, pipeline))
                    .where(
                        header.c.status == SyncStatus.PENDING.value,
                        header.c.id > after.get(pipeline.name, 0),
                    )
                    .order_by(header.c.id)
                ).all()
                found += [to_ref(pipeline, row) for row in rows]
        return found

    def log_dispatch(self, refs: list[DocumentRef]) -> None:
        """Insert one PENDING entry per document."""
        now = datetime.now(UTC)
        self._logs.insert_many(
            [
                {
                    "_id": f"{ref.pipeline}/{ref.record_id}",
                    "pipeline": ref.pipeline,
                    "record_id": ref.record_id,
                    "local_id": ref.local_id,
                    "pharmacy_code": ref.pharmacy_code,
                    "shop_pharmacy_code": ref.shop_pharmacy_code,
                    "status": "PENDING",
                    "created_at": now,
                    "updated_at": now,
                }
                for ref in refs
            ]
        )

    def send(self, pipeline_name: str, record_id: int) -> str:
        """Read, POST, write the status, close the log entry; returns the final status.

        Raises:
            SyncError: except Rejected, which is a final status.
        """
        pipeline = get_pipeline(pipeline_name)
        document = self._read(pipeline, record_id)
        ref = document.ref
        national_id = None
        try:
            payload = build_payload(document, self._api)
            account = self._accounts.account_for(ref.shop_pharmacy_code, ref.pharmacy_code)
            answer = self._http.post(
                f"{self._api.base_url}/lien_thong/{payload.resource}",
                json=payload.body,
                headers={"Authorization": f"Bearer {self._token(account)}"},
            )
            acceptance = parse_submit(
                Reply(answer.status_code, answer.headers, answer.content),
                payload.resource,
                payload.local_id,
                self._api,
            )
        except Rejected as error:
            status, message = SyncStatus.FAILED, error.message
        else:
            status, message = SyncStatus.SUCCESS, acceptance.message
            national_id = acceptance.national_id
        self._write(pipeline, record_id, status, national_id, message)
        self._logs.update_one(
            {"_id": f"{pipeline_name}/{record_id}"},
            {
                "$set": {
                    "status": status.value,
                    "national_id": national_id,
                    "message": message,
                    "updated_at": datetime.now(UTC),
                }
            },
        )
        return status.value

    def _read(self, pipeline: Pipeline, record_id: int) -> Document:
        header, details = self._tables.header(pipeline), self._tables.details(pipeline)
        header_columns, line_columns = list(header.c), list(details.c)
        with self._engine.connect() as connection:
            ref = ref_columns(header, pipeline)
            row = connection.execute(
                select(*ref, *header_columns).where(header.c.id == record_id)
            ).one()
            lines = connection.execute(
                select(*line_columns)
                .where(self._tables.foreign_key(pipeline) == record_id)
                .order_by(details.c.id)
            ).all()
        return Document(
            ref=to_ref(pipeline, row),
            claim_token=UNCLAIMED,
            unconfirmed=False,
            attempts=1,
            header=by_standard_name(header_columns, row[len(ref) :]),
            lines=tuple(by_standard_name(line_columns, line) for line in lines),
        )

    def _write(
        self,
        pipeline: Pipeline,
        record_id: int,
        status: SyncStatus,
        national_id: str | None,
        message: str,
    ) -> None:
        header = self._tables.header(pipeline)
        values: dict[Any, Any] = {
            header.c.status: status.value,
            header.c.sync_response_message: message,
            header.c.updated_at: local_now(),
        }
        if national_id is not None:
            values[self._tables.national_id(pipeline)] = national_id
        with self._engine.begin() as connection:
            connection.execute(update(header).where(header.c.id == record_id).values(values))

    def _token(self, account: Account) -> str:
        with self._login:
            if account.username not in self._tokens:
                answer = self._http.post(
                    f"{self._api.base_url}/tai_khoan/dang_nhap",
                    json={"usr": account.username, "pwd": account.password.get_secret_value()},
                )
                token = parse_login(Reply(answer.status_code, answer.headers, answer.content))
                self._tokens[account.username] = token.value
            return self._tokens[account.username]


@lru_cache(maxsize=1)
def _job() -> Job:
    return Job(load_settings())


_opening = threading.Lock()


def current_job() -> Job:
    """The job of this process, opened on first use, after a pool has forked."""
    with _opening:
        return _job()
