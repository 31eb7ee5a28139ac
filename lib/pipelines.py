"""The three pipelines and all their differences as data, and the time zone of their dates."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta, timezone

from lib.errors import ConfigurationError


@dataclass(frozen=True, slots=True)
class Pipeline:
    """How one kind of document is stored, named and sent.

    Attributes:
        name: pipeline, flow, deployment and work pool share this name.
        noun: first word of the name of a record's run, for example `sale-invoice HD-S01-000101`.
        header_table, detail_table: standard table names (settings may override them).
        local_id_column, national_id_column, date_column: standard header columns.
        foreign_key_column: standard detail column that points at the header.
        resource: last part of the API's path.
        id_parameter: name of the flow parameter for a manual run.
    """

    name: str
    noun: str
    header_table: str
    detail_table: str
    local_id_column: str
    national_id_column: str
    date_column: str
    foreign_key_column: str
    resource: str
    id_parameter: str

    @property
    def deployment(self) -> str:
        """Full name of the Prefect deployment, `flow/deployment`."""
        return f"{self.name}/{self.name}"

    @property
    def work_pool(self) -> str:
        return self.name

    def run_name(self, local_id: str) -> str:
        """Name of the run that sends one document of a batch."""
        return f"{self.noun} {local_id}"

    def manual_run_name(self, local_id: str) -> str:
        """Name of the pipeline's run that a person starts for one document."""
        return f"{self.name} {local_id}"


IMPORT = Pipeline(
    name="import",
    noun="purchase-receipt",
    header_table="PurchaseReceipts",
    detail_table="PurchaseReceiptDetails",
    local_id_column="local_receipt_id",
    national_id_column="national_receipt_id",
    date_column="receipt_date",
    foreign_key_column="purchase_receipt_id",
    resource="phieu_nhap",
    id_parameter="local_receipt_id",
)

SALE = Pipeline(
    name="sale",
    noun="sale-invoice",
    header_table="SalesInvoices",
    detail_table="SalesInvoiceDetails",
    local_id_column="local_invoice_id",
    national_id_column="national_invoice_id",
    date_column="sale_date",
    foreign_key_column="sales_invoice_id",
    resource="hoa_don",
    id_parameter="local_invoice_id",
)

CANCELLATION = Pipeline(
    name="cancellation",
    noun="goods-issue-slip",
    header_table="GoodsIssueSlips",
    detail_table="GoodsIssueSlipDetails",
    local_id_column="local_slip_id",
    national_id_column="national_slip_id",
    date_column="issue_date",
    foreign_key_column="goods_issue_slip_id",
    resource="phieu_xuat",
    id_parameter="local_slip_id",
)

PIPELINES: dict[str, Pipeline] = {p.name: p for p in (IMPORT, SALE, CANCELLATION)}

#: Work pool of the flows `orchestrate`, `reconcile` and `daily-close`.
SCHEDULER_POOL = "scheduler"

#: Time zone of the documents' dates; Vietnam has no daylight saving time.
PHARMACY_ZONE = timezone(timedelta(hours=7))


def pharmacy_date(moment: datetime) -> date:
    """The pharmacies' local date at a moment."""
    return moment.astimezone(PHARMACY_ZONE).date()


def get_pipeline(name: str) -> Pipeline:
    """The pipeline of this name.

    Raises:
        ConfigurationError: there is none.
    """
    try:
        return PIPELINES[name]
    except KeyError:
        raise ConfigurationError(
            f"unknown pipeline {name!r}; there are {', '.join(PIPELINES)}"
        ) from None


@dataclass(frozen=True, slots=True)
class PoolState:
    """Whether a pipeline's work pool can start runs, and how many.

    Attributes:
        workers: workers online; None for a pool that needs none.
        concurrency_limit: most concurrent runs of the pool, None without a limit.
    """

    paused: bool = False
    workers: int | None = None
    concurrency_limit: int | None = None

    @property
    def refusal(self) -> str | None:
        """Why a new run would not start; None if it would start soon."""
        if self.paused:
            return "the work pool is paused"
        return "no worker is online" if self.workers == 0 else None
