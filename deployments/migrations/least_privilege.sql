-- The minimum rights of the service's login. Run it after the migration `sync`, as an
-- administrator who may grant rights; idempotent. Create the login itself first, so that its
-- password is on no command line and in no file: in SQL Server Management Studio (Security, Logins,
-- New Login), or in an interactive session of sqlcmd, which other users of the machine cannot see:
--
--   1> CREATE LOGIN [dqg] WITH PASSWORD = N'...';
--
--   sqlcmd -I -b -S sqlserver.example -d Pharmacy -i deployments/migrations/least_privilege.sql \
--     -v ServiceLogin="dqg"
--
-- Where schema, tables or columns have other names (DQG_SOURCE__DB_SCHEMA, __TABLES, __COLUMNS),
-- write those here.

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
-- migrates, with a separate login.
GRANT SELECT ON dbo.dqg_installation TO dqg_service;
GRANT SELECT ON dbo.dqg_account TO dqg_service;
GRANT SELECT ON dbo.dqg_alembic_version TO dqg_service;

-- Only these four columns of a document are written. No row of the pharmacy's tables is ever
-- inserted or deleted.
GRANT UPDATE (status, national_receipt_id, sync_response_message, updated_at)
    ON dbo.PurchaseReceipts TO dqg_service;
GRANT UPDATE (status, national_invoice_id, sync_response_message, updated_at)
    ON dbo.SalesInvoices TO dqg_service;
GRANT UPDATE (status, national_slip_id, sync_response_message, updated_at)
    ON dbo.GoodsIssueSlips TO dqg_service;

-- The delivery state of each document, in a table of the service.
GRANT SELECT ON dbo.dqg_delivery TO dqg_service;
GRANT INSERT ON dbo.dqg_delivery TO dqg_service;
GRANT UPDATE ON dbo.dqg_delivery TO dqg_service;
GO
