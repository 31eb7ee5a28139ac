-- Tables with a number as status and a text as key: HoaDonHeader, PhieuNhapHeader, PhieuXuatHeader,
-- each with its details. Settings alone cannot map such tables. This file creates views of the
-- standard shape for the service, in the schema `dqg`; run the migration afterwards, with
-- DQG_SOURCE__DB_SCHEMA=dqg.
--
-- The pharmacy's tables keep their columns. Each gets one trigger, which records every new document
-- and every change of its status in a key table: an integer id, and the status as text. An outcome
-- is written to the key table, and a trigger there copies it to the pharmacy's table.
--
-- The names of the pharmacy's columns are examples: replace them with yours. The numbers are rows of
-- dqg.StatusNumber. Documents with any other number are not sent, and neither are those with
-- RETRYING: it is not known whether the earlier sender sent them successfully. `dqg doctor` counts
-- such documents, and shows the UPDATE that makes them pending.
--
--   sqlcmd -b -I -S sqlserver.example -d Pharmacy \
--     -i deployments/migrations/recipes/integer_status_sqlserver.sql

SET ANSI_NULLS ON;
SET QUOTED_IDENTIFIER ON;
SET XACT_ABORT ON;
GO
CREATE SCHEMA dqg;
GO
CREATE TABLE dqg.StatusNumber (
    number INT NOT NULL PRIMARY KEY,
    status NVARCHAR(20) NOT NULL UNIQUE
);
INSERT INTO dqg.StatusNumber (number, status) VALUES
    (0, N'PENDING_SYNC'), (1, N'SYNC_SUCCESS'), (2, N'RETRYING'), (3, N'SYNC_FAILED');
GO
CREATE VIEW dqg.AccountShop AS SELECT * FROM dbo.AccountShop;
GO

-- HoaDonHeader
CREATE TABLE dqg.SalesInvoiceKey (
    id INT IDENTITY(1, 1) NOT NULL PRIMARY KEY,
    code NVARCHAR(50) NOT NULL UNIQUE,
    status NVARCHAR(20) NOT NULL,
    national_id NVARCHAR(100) NULL,
    message NVARCHAR(MAX) NULL,
    updated_at DATETIME NOT NULL
);
CREATE INDEX ix_SalesInvoiceKey_status ON dqg.SalesInvoiceKey (status);
GO
CREATE TRIGGER dbo.dqg_HoaDonHeader ON dbo.HoaDonHeader AFTER INSERT, UPDATE AS
BEGIN
    SET NOCOUNT ON;
    IF NOT EXISTS (SELECT 1 FROM inserted) RETURN;
    INSERT INTO dqg.SalesInvoiceKey (code, status, national_id, message, updated_at)
    SELECT i.ma_hoa_don, COALESCE(s.status, CONCAT(N'STATUS_', i.trang_thai)),
        i.ma_hoa_don_quoc_gia, i.thong_bao, GETDATE()
    FROM inserted AS i
    LEFT JOIN dqg.StatusNumber AS s ON s.number = i.trang_thai
    WHERE NOT EXISTS (SELECT 1 FROM dqg.SalesInvoiceKey AS k WHERE k.code = i.ma_hoa_don);
    UPDATE k
    SET status = COALESCE(s.status, CONCAT(N'STATUS_', i.trang_thai)),
        national_id = i.ma_hoa_don_quoc_gia, message = i.thong_bao, updated_at = GETDATE()
    FROM dqg.SalesInvoiceKey AS k
    JOIN inserted AS i ON i.ma_hoa_don = k.code
    LEFT JOIN dqg.StatusNumber AS s ON s.number = i.trang_thai
    WHERE k.status <> COALESCE(s.status, CONCAT(N'STATUS_', i.trang_thai))
        OR COALESCE(k.national_id, N'') <> COALESCE(i.ma_hoa_don_quoc_gia, N'');
END;
GO
CREATE TRIGGER dqg.SalesInvoiceKey_outcome ON dqg.SalesInvoiceKey AFTER UPDATE AS
BEGIN
    SET NOCOUNT ON;
    IF NOT EXISTS (SELECT 1 FROM inserted) RETURN;
    UPDATE h
    SET trang_thai = s.number, ma_hoa_don_quoc_gia = i.national_id, thong_bao = i.message,
        ngay_cap_nhat = i.updated_at
    FROM dbo.HoaDonHeader AS h
    JOIN inserted AS i ON i.code = h.ma_hoa_don
    JOIN dqg.StatusNumber AS s ON s.status = i.status;
END;
GO
INSERT INTO dqg.SalesInvoiceKey (code, status, national_id, message, updated_at)
SELECT h.ma_hoa_don, COALESCE(s.status, CONCAT(N'STATUS_', h.trang_thai)),
    h.ma_hoa_don_quoc_gia, h.thong_bao, COALESCE(h.ngay_cap_nhat, GETDATE())
FROM dbo.HoaDonHeader AS h
LEFT JOIN dqg.StatusNumber AS s ON s.number = h.trang_thai
WHERE NOT EXISTS (SELECT 1 FROM dqg.SalesInvoiceKey AS k WHERE k.code = h.ma_hoa_don);
GO
-- No INSTEAD OF trigger: SQL Server refuses an UPDATE that joins a view with one (error 414). All
-- columns that the service writes are in one table, so the view itself can be updated.
CREATE VIEW dqg.SalesInvoices AS
SELECT
    k.id, h.ma_hoa_don AS local_invoice_id, k.national_id AS national_invoice_id,
    h.ma_co_so AS pharmacy_code, h.ma_cua_hang AS shop_pharmacy_code,
    h.ma_don_thuoc_quoc_gia AS national_prescription_id, h.ngay_ban AS sale_date,
    h.ten_nguoi_ban AS seller_name, h.ten_khach_hang AS customer_name, k.status,
    k.message AS sync_response_message, h.ngay_tao AS created_at, k.updated_at
FROM dqg.SalesInvoiceKey AS k
JOIN dbo.HoaDonHeader AS h ON h.ma_hoa_don = k.code;
GO
CREATE VIEW dqg.SalesInvoiceDetails AS
SELECT
    d.so_dong AS id, k.id AS sales_invoice_id, d.ma_thuoc AS drug_code, d.ten_thuoc AS drug_name,
    d.so_lo AS lot_number, d.ngay_san_xuat AS production_date, d.han_dung AS expiry_date,
    d.don_vi_tinh AS unit, d.ham_luong AS concentration, d.lieu_dung AS dosage,
    d.duong_dung AS route_of_administration, d.so_dang_ky AS registration_number,
    d.so_luong AS quantity, d.don_gia AS unit_price, d.thanh_tien AS line_total,
    d.ty_le_quy_doi AS conversion_ratio
FROM dbo.HoaDonDetail AS d
JOIN dqg.SalesInvoiceKey AS k ON k.code = d.ma_hoa_don;
GO

-- PhieuNhapHeader
CREATE TABLE dqg.PurchaseReceiptKey (
    id INT IDENTITY(1, 1) NOT NULL PRIMARY KEY,
    code NVARCHAR(50) NOT NULL UNIQUE,
    status NVARCHAR(20) NOT NULL,
    national_id NVARCHAR(100) NULL,
    message NVARCHAR(MAX) NULL,
    updated_at DATETIME NOT NULL
);
CREATE INDEX ix_PurchaseReceiptKey_status ON dqg.PurchaseReceiptKey (status);
GO
CREATE TRIGGER dbo.dqg_PhieuNhapHeader ON dbo.PhieuNhapHeader AFTER INSERT, UPDATE AS
BEGIN
    SET NOCOUNT ON;
    IF NOT EXISTS (SELECT 1 FROM inserted) RETURN;
    INSERT INTO dqg.PurchaseReceiptKey (code, status, national_id, message, updated_at)
    SELECT i.ma_phieu_nhap, COALESCE(s.status, CONCAT(N'STATUS_', i.trang_thai)),
        i.ma_phieu_nhap_quoc_gia, i.thong_bao, GETDATE()
    FROM inserted AS i
    LEFT JOIN dqg.StatusNumber AS s ON s.number = i.trang_thai
    WHERE NOT EXISTS (SELECT 1 FROM dqg.PurchaseReceiptKey AS k WHERE k.code = i.ma_phieu_nhap);
    UPDATE k
    SET status = COALESCE(s.status, CONCAT(N'STATUS_', i.trang_thai)),
        national_id = i.ma_phieu_nhap_quoc_gia, message = i.thong_bao, updated_at = GETDATE()
    FROM dqg.PurchaseReceiptKey AS k
    JOIN inserted AS i ON i.ma_phieu_nhap = k.code
    LEFT JOIN dqg.StatusNumber AS s ON s.number = i.trang_thai
    WHERE k.status <> COALESCE(s.status, CONCAT(N'STATUS_', i.trang_thai))
        OR COALESCE(k.national_id, N'') <> COALESCE(i.ma_phieu_nhap_quoc_gia, N'');
END;
GO
CREATE TRIGGER dqg.PurchaseReceiptKey_outcome ON dqg.PurchaseReceiptKey AFTER UPDATE AS
BEGIN
    SET NOCOUNT ON;
    IF NOT EXISTS (SELECT 1 FROM inserted) RETURN;
    UPDATE h
    SET trang_thai = s.number, ma_phieu_nhap_quoc_gia = i.national_id, thong_bao = i.message,
        ngay_cap_nhat = i.updated_at
    FROM dbo.PhieuNhapHeader AS h
    JOIN inserted AS i ON i.code = h.ma_phieu_nhap
    JOIN dqg.StatusNumber AS s ON s.status = i.status;
END;
GO
INSERT INTO dqg.PurchaseReceiptKey (code, status, national_id, message, updated_at)
SELECT h.ma_phieu_nhap, COALESCE(s.status, CONCAT(N'STATUS_', h.trang_thai)),
    h.ma_phieu_nhap_quoc_gia, h.thong_bao, COALESCE(h.ngay_cap_nhat, GETDATE())
FROM dbo.PhieuNhapHeader AS h
LEFT JOIN dqg.StatusNumber AS s ON s.number = h.trang_thai
WHERE NOT EXISTS (SELECT 1 FROM dqg.PurchaseReceiptKey AS k WHERE k.code = h.ma_phieu_nhap);
GO
-- No INSTEAD OF trigger: SQL Server refuses an UPDATE that joins a view with one (error 414). All
-- columns that the service writes are in one table, so the view itself can be updated.
CREATE VIEW dqg.PurchaseReceipts AS
SELECT
    k.id, h.ma_phieu_nhap AS local_receipt_id, k.national_id AS national_receipt_id,
    h.ma_co_so AS pharmacy_code, h.ma_cua_hang AS shop_pharmacy_code, h.ngay_nhap AS receipt_date,
    h.loai_phieu_nhap AS receipt_type, h.ten_nha_cung_cap AS supplier_name, h.ghi_chu AS notes,
    k.status, k.message AS sync_response_message, h.ngay_tao AS created_at, k.updated_at
FROM dqg.PurchaseReceiptKey AS k
JOIN dbo.PhieuNhapHeader AS h ON h.ma_phieu_nhap = k.code;
GO
CREATE VIEW dqg.PurchaseReceiptDetails AS
SELECT
    d.so_dong AS id, k.id AS purchase_receipt_id, d.ma_thuoc AS drug_code, d.ten_thuoc AS drug_name,
    d.so_lo AS lot_number, d.ngay_san_xuat AS production_date, d.han_dung AS expiry_date,
    d.so_dang_ky AS registration_number, d.so_luong AS quantity, d.don_gia AS unit_price,
    d.don_vi_tinh AS unit
FROM dbo.PhieuNhapDetail AS d
JOIN dqg.PurchaseReceiptKey AS k ON k.code = d.ma_phieu_nhap;
GO

-- PhieuXuatHeader
CREATE TABLE dqg.GoodsIssueSlipKey (
    id INT IDENTITY(1, 1) NOT NULL PRIMARY KEY,
    code NVARCHAR(50) NOT NULL UNIQUE,
    status NVARCHAR(20) NOT NULL,
    national_id NVARCHAR(100) NULL,
    message NVARCHAR(MAX) NULL,
    updated_at DATETIME NOT NULL
);
CREATE INDEX ix_GoodsIssueSlipKey_status ON dqg.GoodsIssueSlipKey (status);
GO
CREATE TRIGGER dbo.dqg_PhieuXuatHeader ON dbo.PhieuXuatHeader AFTER INSERT, UPDATE AS
BEGIN
    SET NOCOUNT ON;
    IF NOT EXISTS (SELECT 1 FROM inserted) RETURN;
    INSERT INTO dqg.GoodsIssueSlipKey (code, status, national_id, message, updated_at)
    SELECT i.ma_phieu_xuat, COALESCE(s.status, CONCAT(N'STATUS_', i.trang_thai)),
        i.ma_phieu_xuat_quoc_gia, i.thong_bao, GETDATE()
    FROM inserted AS i
    LEFT JOIN dqg.StatusNumber AS s ON s.number = i.trang_thai
    WHERE NOT EXISTS (SELECT 1 FROM dqg.GoodsIssueSlipKey AS k WHERE k.code = i.ma_phieu_xuat);
    UPDATE k
    SET status = COALESCE(s.status, CONCAT(N'STATUS_', i.trang_thai)),
        national_id = i.ma_phieu_xuat_quoc_gia, message = i.thong_bao, updated_at = GETDATE()
    FROM dqg.GoodsIssueSlipKey AS k
    JOIN inserted AS i ON i.ma_phieu_xuat = k.code
    LEFT JOIN dqg.StatusNumber AS s ON s.number = i.trang_thai
    WHERE k.status <> COALESCE(s.status, CONCAT(N'STATUS_', i.trang_thai))
        OR COALESCE(k.national_id, N'') <> COALESCE(i.ma_phieu_xuat_quoc_gia, N'');
END;
GO
CREATE TRIGGER dqg.GoodsIssueSlipKey_outcome ON dqg.GoodsIssueSlipKey AFTER UPDATE AS
BEGIN
    SET NOCOUNT ON;
    IF NOT EXISTS (SELECT 1 FROM inserted) RETURN;
    UPDATE h
    SET trang_thai = s.number, ma_phieu_xuat_quoc_gia = i.national_id, thong_bao = i.message,
        ngay_cap_nhat = i.updated_at
    FROM dbo.PhieuXuatHeader AS h
    JOIN inserted AS i ON i.code = h.ma_phieu_xuat
    JOIN dqg.StatusNumber AS s ON s.status = i.status;
END;
GO
INSERT INTO dqg.GoodsIssueSlipKey (code, status, national_id, message, updated_at)
SELECT h.ma_phieu_xuat, COALESCE(s.status, CONCAT(N'STATUS_', h.trang_thai)),
    h.ma_phieu_xuat_quoc_gia, h.thong_bao, COALESCE(h.ngay_cap_nhat, GETDATE())
FROM dbo.PhieuXuatHeader AS h
LEFT JOIN dqg.StatusNumber AS s ON s.number = h.trang_thai
WHERE NOT EXISTS (SELECT 1 FROM dqg.GoodsIssueSlipKey AS k WHERE k.code = h.ma_phieu_xuat);
GO
-- No INSTEAD OF trigger: SQL Server refuses an UPDATE that joins a view with one (error 414). All
-- columns that the service writes are in one table, so the view itself can be updated.
CREATE VIEW dqg.GoodsIssueSlips AS
SELECT
    k.id, h.ma_phieu_xuat AS local_slip_id, k.national_id AS national_slip_id,
    h.ma_co_so AS pharmacy_code, h.ma_cua_hang AS shop_pharmacy_code, h.ngay_xuat AS issue_date,
    h.loai_phieu_xuat AS issue_type, h.ten_co_so_nhan AS recipient_name, h.ghi_chu AS notes,
    k.status, k.message AS sync_response_message, h.ngay_tao AS created_at, k.updated_at
FROM dqg.GoodsIssueSlipKey AS k
JOIN dbo.PhieuXuatHeader AS h ON h.ma_phieu_xuat = k.code;
GO
CREATE VIEW dqg.GoodsIssueSlipDetails AS
SELECT
    d.so_dong AS id, k.id AS goods_issue_slip_id, d.ma_thuoc AS drug_code, d.ten_thuoc AS drug_name,
    d.so_lo AS lot_number, d.ngay_san_xuat AS production_date, d.han_dung AS expiry_date,
    d.so_dang_ky AS registration_number, d.so_luong AS quantity, d.don_gia AS unit_price,
    d.don_vi_tinh AS unit
FROM dbo.PhieuXuatDetail AS d
JOIN dqg.GoodsIssueSlipKey AS k ON k.code = d.ma_phieu_xuat;
GO
