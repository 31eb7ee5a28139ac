"""All checks, in the order in which they run."""

from __future__ import annotations

from deployments.cli.doctor import alerts, api, clocks, encryption, prefect, schema, source, stores
from deployments.cli.doctor.findings import Check
from deployments.cli.language import N_

CHECKS = (
    Check("settings", source.check_settings, N_("correct the settings: docs/settings.md")),
    Check(
        "odbc-driver",
        source.check_driver,
        N_("correct DQG_SOURCE__URL or DQG_SOURCE__ODBC_DRIVER, or install a driver"),
        needs=("settings",),
    ),
    Check(
        "source-database",
        source.check_source,
        N_("check that the server is running and reachable, and check DQG_SOURCE__URL"),
        needs=("settings", "odbc-driver"),
    ),
    Check(
        "columns",
        schema.check_columns,
        N_("grant the service's login read access to the tables: docs/installation.md"),
        needs=("source-database",),
    ),
    Check(
        "migrations",
        source.check_migrations,
        N_("grant the service's login read access to the tables: docs/installation.md"),
        needs=("source-database",),
    ),
    Check(
        "indexes",
        schema.check_indexes,
        N_("grant the service's login read access to the tables: docs/installation.md"),
        needs=("columns",),
    ),
    Check(
        "triggers",
        schema.check_triggers,
        N_("grant the service's login read access to the tables: docs/installation.md"),
        needs=("columns",),
    ),
    Check(
        "statuses",
        schema.check_statuses,
        N_("grant the service's login read access to the tables: docs/installation.md"),
        needs=("columns",),
    ),
    Check(
        "installation",
        source.check_installation,
        N_("see dqg installation show"),
        needs=("source-database", "migrations"),
    ),
    Check(
        "mongodb",
        stores.check_mongo,
        N_("start MongoDB or correct DQG_MONGO__URL; meanwhile nothing is logged"),
        needs=("settings",),
    ),
    Check(
        "redis",
        stores.check_redis,
        N_("start Redis or correct DQG_REDIS__URL; meanwhile processes do not share breakers"),
        needs=("settings",),
    ),
    Check("api-address", api.check_address, "", needs=("settings",)),
    Check(
        "api-login",
        api.check_logins,
        N_("check that the server is running and reachable, and check DQG_SOURCE__URL"),
        needs=("columns", "migrations", "redis", "api-address"),
    ),
    Check(
        "prefect-server",
        prefect.check_server,
        N_("start the server, and set PREFECT_API_URL to its address"),
    ),
    Check(
        "prefect-database",
        prefect.check_database,
        N_("look at the server's log"),
        needs=("prefect-server",),
    ),
    Check(
        "work-pools",
        prefect.check_pools,
        N_("look at the server's log"),
        needs=("prefect-server",),
    ),
    Check(
        "deployments",
        prefect.check_deployments,
        N_("look at the server's log"),
        needs=("prefect-server",),
    ),
    Check(
        "workers", prefect.check_workers, N_("look at the server's log"), needs=("prefect-server",)
    ),
    Check("encryption", encryption.check_encryption, "", needs=("odbc-driver",)),
    Check("alerts", alerts.check_alerts, "", needs=("settings",)),
    Check("clocks", clocks.check_clocks, ""),
)
