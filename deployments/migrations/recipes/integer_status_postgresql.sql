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
-- dqg.status_number. Documents with any other number are not sent, and neither are those with
-- RETRYING: it is not known whether the earlier sender sent them successfully. `dqg doctor` counts
-- such documents, and shows the UPDATE that makes them pending.
--
--   psql --single-transaction -v ON_ERROR_STOP=1 \
--     -f deployments/migrations/recipes/integer_status_postgresql.sql

CREATE SCHEMA dqg;

CREATE TABLE dqg.status_number (number integer PRIMARY KEY, status varchar(20) NOT NULL UNIQUE);
INSERT INTO dqg.status_number (number, status) VALUES
    (0, 'PENDING_SYNC'), (1, 'SYNC_SUCCESS'), (2, 'RETRYING'), (3, 'SYNC_FAILED');

CREATE FUNCTION dqg.status_of(number integer) RETURNS varchar LANGUAGE sql STABLE AS $$
    SELECT COALESCE((SELECT s.status FROM dqg.status_number AS s WHERE s.number = status_of.number),
        'STATUS_' || number)
$$;

CREATE VIEW dqg."AccountShop" AS SELECT * FROM public."AccountShop";

-- HoaDonHeader
CREATE TABLE dqg.sales_invoice_key (
    id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    code varchar(50) NOT NULL UNIQUE,
    status varchar(20) NOT NULL,
    national_id varchar(100),
    message text,
    updated_at timestamp NOT NULL
);
CREATE INDEX ON dqg.sales_invoice_key (status);

CREATE FUNCTION dqg.note_sales_invoice_key() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO dqg.sales_invoice_key AS k (code, status, national_id, message, updated_at)
    VALUES (NEW.ma_hoa_don, dqg.status_of(NEW.trang_thai), NEW.ma_hoa_don_quoc_gia,
        NEW.thong_bao, LOCALTIMESTAMP)
    ON CONFLICT (code) DO UPDATE
    SET status = excluded.status, national_id = excluded.national_id,
        message = excluded.message, updated_at = excluded.updated_at
    WHERE k.status <> excluded.status OR k.national_id IS DISTINCT FROM excluded.national_id;
    RETURN NULL;
END $$;
CREATE TRIGGER dqg_note AFTER INSERT OR UPDATE ON public."HoaDonHeader"
    FOR EACH ROW EXECUTE FUNCTION dqg.note_sales_invoice_key();

CREATE FUNCTION dqg.copy_sales_invoice_key() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE public."HoaDonHeader"
    SET trang_thai = s.number, ma_hoa_don_quoc_gia = NEW.national_id, thong_bao = NEW.message,
        ngay_cap_nhat = NEW.updated_at
    FROM dqg.status_number AS s
    WHERE ma_hoa_don = NEW.code AND s.status = NEW.status;
    RETURN NULL;
END $$;
CREATE TRIGGER copy_outcome AFTER UPDATE ON dqg.sales_invoice_key
    FOR EACH ROW EXECUTE FUNCTION dqg.copy_sales_invoice_key();

INSERT INTO dqg.sales_invoice_key (code, status, national_id, message, updated_at)
SELECT ma_hoa_don, dqg.status_of(trang_thai), ma_hoa_don_quoc_gia, thong_bao,
    COALESCE(ngay_cap_nhat, LOCALTIMESTAMP)
FROM public."HoaDonHeader"
ON CONFLICT (code) DO NOTHING;

CREATE VIEW dqg."SalesInvoices" AS
SELECT
    k.id, h.ma_hoa_don AS local_invoice_id, k.national_id AS national_invoice_id,
    h.ma_co_so AS pharmacy_code, h.ma_cua_hang AS shop_pharmacy_code,
    h.ma_don_thuoc_quoc_gia AS national_prescription_id, h.ngay_ban AS sale_date,
    h.ten_nguoi_ban AS seller_name, h.ten_khach_hang AS customer_name, k.status,
    k.message AS sync_response_message, h.ngay_tao AS created_at, k.updated_at
FROM dqg.sales_invoice_key AS k
JOIN public."HoaDonHeader" AS h ON h.ma_hoa_don = k.code;

-- PostgreSQL cannot update a view of two tables without this trigger.
CREATE FUNCTION dqg.write_sales_invoice_key() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE dqg.sales_invoice_key
    SET status = NEW.status, national_id = NEW.national_invoice_id,
        message = NEW.sync_response_message, updated_at = NEW.updated_at
    WHERE id = NEW.id;
    RETURN NEW;
END $$;
CREATE TRIGGER write_outcome INSTEAD OF UPDATE ON dqg."SalesInvoices"
    FOR EACH ROW EXECUTE FUNCTION dqg.write_sales_invoice_key();

CREATE VIEW dqg."SalesInvoiceDetails" AS
SELECT
    d.so_dong AS id, k.id AS sales_invoice_id, d.ma_thuoc AS drug_code, d.ten_thuoc AS drug_name,
    d.so_lo AS lot_number, d.ngay_san_xuat AS production_date, d.han_dung AS expiry_date,
    d.don_vi_tinh AS unit, d.ham_luong AS concentration, d.lieu_dung AS dosage,
    d.duong_dung AS route_of_administration, d.so_dang_ky AS registration_number,
    d.so_luong AS quantity, d.don_gia AS unit_price, d.thanh_tien AS line_total,
    d.ty_le_quy_doi AS conversion_ratio
FROM public."HoaDonDetail" AS d
JOIN dqg.sales_invoice_key AS k ON k.code = d.ma_hoa_don;

-- PhieuNhapHeader
CREATE TABLE dqg.purchase_receipt_key (
    id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    code varchar(50) NOT NULL UNIQUE,
    status varchar(20) NOT NULL,
    national_id varchar(100),
    message text,
    updated_at timestamp NOT NULL
);
CREATE INDEX ON dqg.purchase_receipt_key (status);

CREATE FUNCTION dqg.note_purchase_receipt_key() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO dqg.purchase_receipt_key AS k (code, status, national_id, message, updated_at)
    VALUES (NEW.ma_phieu_nhap, dqg.status_of(NEW.trang_thai), NEW.ma_phieu_nhap_quoc_gia,
        NEW.thong_bao, LOCALTIMESTAMP)
    ON CONFLICT (code) DO UPDATE
    SET status = excluded.status, national_id = excluded.national_id,
        message = excluded.message, updated_at = excluded.updated_at
    WHERE k.status <> excluded.status OR k.national_id IS DISTINCT FROM excluded.national_id;
    RETURN NULL;
END $$;
CREATE TRIGGER dqg_note AFTER INSERT OR UPDATE ON public."PhieuNhapHeader"
    FOR EACH ROW EXECUTE FUNCTION dqg.note_purchase_receipt_key();

CREATE FUNCTION dqg.copy_purchase_receipt_key() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE public."PhieuNhapHeader"
    SET trang_thai = s.number, ma_phieu_nhap_quoc_gia = NEW.national_id, thong_bao = NEW.message,
        ngay_cap_nhat = NEW.updated_at
    FROM dqg.status_number AS s
    WHERE ma_phieu_nhap = NEW.code AND s.status = NEW.status;
    RETURN NULL;
END $$;
CREATE TRIGGER copy_outcome AFTER UPDATE ON dqg.purchase_receipt_key
    FOR EACH ROW EXECUTE FUNCTION dqg.copy_purchase_receipt_key();

INSERT INTO dqg.purchase_receipt_key (code, status, national_id, message, updated_at)
SELECT ma_phieu_nhap, dqg.status_of(trang_thai), ma_phieu_nhap_quoc_gia, thong_bao,
    COALESCE(ngay_cap_nhat, LOCALTIMESTAMP)
FROM public."PhieuNhapHeader"
ON CONFLICT (code) DO NOTHING;

CREATE VIEW dqg."PurchaseReceipts" AS
SELECT
    k.id, h.ma_phieu_nhap AS local_receipt_id, k.national_id AS national_receipt_id,
    h.ma_co_so AS pharmacy_code, h.ma_cua_hang AS shop_pharmacy_code, h.ngay_nhap AS receipt_date,
    h.loai_phieu_nhap AS receipt_type, h.ten_nha_cung_cap AS supplier_name, h.ghi_chu AS notes,
    k.status, k.message AS sync_response_message, h.ngay_tao AS created_at, k.updated_at
FROM dqg.purchase_receipt_key AS k
JOIN public."PhieuNhapHeader" AS h ON h.ma_phieu_nhap = k.code;

-- PostgreSQL cannot update a view of two tables without this trigger.
CREATE FUNCTION dqg.write_purchase_receipt_key() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE dqg.purchase_receipt_key
    SET status = NEW.status, national_id = NEW.national_receipt_id,
        message = NEW.sync_response_message, updated_at = NEW.updated_at
    WHERE id = NEW.id;
    RETURN NEW;
END $$;
CREATE TRIGGER write_outcome INSTEAD OF UPDATE ON dqg."PurchaseReceipts"
    FOR EACH ROW EXECUTE FUNCTION dqg.write_purchase_receipt_key();

CREATE VIEW dqg."PurchaseReceiptDetails" AS
SELECT
    d.so_dong AS id, k.id AS purchase_receipt_id, d.ma_thuoc AS drug_code, d.ten_thuoc AS drug_name,
    d.so_lo AS lot_number, d.ngay_san_xuat AS production_date, d.han_dung AS expiry_date,
    d.so_dang_ky AS registration_number, d.so_luong AS quantity, d.don_gia AS unit_price,
    d.don_vi_tinh AS unit
FROM public."PhieuNhapDetail" AS d
JOIN dqg.purchase_receipt_key AS k ON k.code = d.ma_phieu_nhap;

-- PhieuXuatHeader
CREATE TABLE dqg.goods_issue_slip_key (
    id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    code varchar(50) NOT NULL UNIQUE,
    status varchar(20) NOT NULL,
    national_id varchar(100),
    message text,
    updated_at timestamp NOT NULL
);
CREATE INDEX ON dqg.goods_issue_slip_key (status);

CREATE FUNCTION dqg.note_goods_issue_slip_key() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO dqg.goods_issue_slip_key AS k (code, status, national_id, message, updated_at)
    VALUES (NEW.ma_phieu_xuat, dqg.status_of(NEW.trang_thai), NEW.ma_phieu_xuat_quoc_gia,
        NEW.thong_bao, LOCALTIMESTAMP)
    ON CONFLICT (code) DO UPDATE
    SET status = excluded.status, national_id = excluded.national_id,
        message = excluded.message, updated_at = excluded.updated_at
    WHERE k.status <> excluded.status OR k.national_id IS DISTINCT FROM excluded.national_id;
    RETURN NULL;
END $$;
CREATE TRIGGER dqg_note AFTER INSERT OR UPDATE ON public."PhieuXuatHeader"
    FOR EACH ROW EXECUTE FUNCTION dqg.note_goods_issue_slip_key();

CREATE FUNCTION dqg.copy_goods_issue_slip_key() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE public."PhieuXuatHeader"
    SET trang_thai = s.number, ma_phieu_xuat_quoc_gia = NEW.national_id, thong_bao = NEW.message,
        ngay_cap_nhat = NEW.updated_at
    FROM dqg.status_number AS s
    WHERE ma_phieu_xuat = NEW.code AND s.status = NEW.status;
    RETURN NULL;
END $$;
CREATE TRIGGER copy_outcome AFTER UPDATE ON dqg.goods_issue_slip_key
    FOR EACH ROW EXECUTE FUNCTION dqg.copy_goods_issue_slip_key();

INSERT INTO dqg.goods_issue_slip_key (code, status, national_id, message, updated_at)
SELECT ma_phieu_xuat, dqg.status_of(trang_thai), ma_phieu_xuat_quoc_gia, thong_bao,
    COALESCE(ngay_cap_nhat, LOCALTIMESTAMP)
FROM public."PhieuXuatHeader"
ON CONFLICT (code) DO NOTHING;

CREATE VIEW dqg."GoodsIssueSlips" AS
SELECT
    k.id, h.ma_phieu_xuat AS local_slip_id, k.national_id AS national_slip_id,
    h.ma_co_so AS pharmacy_code, h.ma_cua_hang AS shop_pharmacy_code, h.ngay_xuat AS issue_date,
    h.loai_phieu_xuat AS issue_type, h.ten_co_so_nhan AS recipient_name, h.ghi_chu AS notes,
    k.status, k.message AS sync_response_message, h.ngay_tao AS created_at, k.updated_at
FROM dqg.goods_issue_slip_key AS k
JOIN public."PhieuXuatHeader" AS h ON h.ma_phieu_xuat = k.code;

-- PostgreSQL cannot update a view of two tables without this trigger.
CREATE FUNCTION dqg.write_goods_issue_slip_key() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE dqg.goods_issue_slip_key
    SET status = NEW.status, national_id = NEW.national_slip_id,
        message = NEW.sync_response_message, updated_at = NEW.updated_at
    WHERE id = NEW.id;
    RETURN NEW;
END $$;
CREATE TRIGGER write_outcome INSTEAD OF UPDATE ON dqg."GoodsIssueSlips"
    FOR EACH ROW EXECUTE FUNCTION dqg.write_goods_issue_slip_key();

CREATE VIEW dqg."GoodsIssueSlipDetails" AS
SELECT
    d.so_dong AS id, k.id AS goods_issue_slip_id, d.ma_thuoc AS drug_code, d.ten_thuoc AS drug_name,
    d.so_lo AS lot_number, d.ngay_san_xuat AS production_date, d.han_dung AS expiry_date,
    d.so_dang_ky AS registration_number, d.so_luong AS quantity, d.don_gia AS unit_price,
    d.don_vi_tinh AS unit
FROM public."PhieuXuatDetail" AS d
JOIN dqg.goods_issue_slip_key AS k ON k.code = d.ma_phieu_xuat;
