-- The rights of the service's login, and no more. Run it after the migration `sync`, as somebody who
-- may create logins and grant rights; idempotent:
--
--   sqlcmd -I -S sqlserver.example -d Pharmacy -i deployments/migrations/least_privilege.sql \
--     -v ServiceLogin="dqg" ServicePassword="..."
--
-- Where schema, tables or columns have other names (DQG_SOURCE__DB_SCHEMA, __TABLES, __COLUMNS),
-- write those here.

IF NOT EXISTS (SELECT 1 FROM sys.server_principals WHERE name = N'$(ServiceLogin)')
    CREATE LOGIN [$(ServiceLogin)] WITH PASSWORD = N'$(ServicePassword)';
GO
IF NOT EXISTS (SELECT 1 FROM sys.database_principals WHERE name = N'$(ServiceLogin)')
    CREATE USER [$(ServiceLogin)] FOR LOGIN [$(ServiceLogin)];
GO
IF DATABASE_PRINCIPAL_ID(N'dqg_service') IS NULL
    CREATE ROLE dqg_service;
GO
ALTER ROLE dqg_service ADD MEMBER [$(ServiceLogin)];
GO

-- Documents and accounts are read.
GRANT SELECT ON dbo.PurchaseReceipts TO dqg_service;
GRANT SELECT ON dbo.PurchaseReceiptDetails TO dqg_service;
GRANT SELECT ON dbo.SalesInvoices TO dqg_service;
GRANT SELECT ON dbo.SalesInvoiceDetails TO dqg_service;
GRANT SELECT ON dbo.GoodsIssueSlips TO dqg_service;
GRANT SELECT ON dbo.GoodsIssueSlipDetails TO dqg_service;
GRANT SELECT ON dbo.AccountShop TO dqg_service;

-- Where documents may be sent from, and which migrations have run. An administrator confirms and
-- migrates, with a login of his own.
GRANT SELECT ON dbo.dqg_installation TO dqg_service;
GRANT SELECT ON dbo.dqg_alembic_version TO dqg_service;

-- Of a document these columns are written, and no other. Nothing is ever inserted or deleted.
GRANT UPDATE (status, sync_response_message, updated_at, national_receipt_id,
    sync_claim_token, sync_lease_expires_at, sync_attempts, sync_next_attempt_at, sync_unconfirmed)
    ON dbo.PurchaseReceipts TO dqg_service;
GRANT UPDATE (status, sync_response_message, updated_at, national_invoice_id,
    sync_claim_token, sync_lease_expires_at, sync_attempts, sync_next_attempt_at, sync_unconfirmed)
    ON dbo.SalesInvoices TO dqg_service;
GRANT UPDATE (status, sync_response_message, updated_at, national_slip_id,
    sync_claim_token, sync_lease_expires_at, sync_attempts, sync_next_attempt_at, sync_unconfirmed)
    ON dbo.GoodsIssueSlips TO dqg_service;
GO
